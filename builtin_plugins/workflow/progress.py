"""The steps of an execution while it is driven: those that are stored, and those that have changed since."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.step_row import Place, StepRow

MIB = 1024 * 1024
LIMIT = "workflow.limit"
"""The code of what an execution fails with at one of its limits."""


class Progress:
    """The rows of one execution, by place; remembers which have to be written.

    What its steps are given and what they return has ``max_bytes`` together, as JSON: whoever goes on with an execution
    reads all of it into memory. Whoever adds a value asks before whether it ``fits``.
    """

    def __init__(self, rows: Iterable[StepRow], *, node: str = "", now: datetime, max_bytes: int = 64 * MIB) -> None:
        self._rows = {row.place: row for row in rows}
        self._max_bytes = max_bytes
        self._bytes = sum(size_of(row.input) + size_of(row.output) for row in self._rows.values())
        self._new: dict[Place, None] = {}
        self._changed: dict[Place, None] = {}
        self._next = 1 + max((row.number for row in self._rows.values()), default=0)
        self.node = node
        self.now = now

    @property
    def rows(self) -> Mapping[Place, StepRow]:
        """Return every row."""
        return self._rows

    def find(self, path: str, iteration: str) -> StepRow | None:
        """Return the row of a step, None before it has begun."""
        return self._rows.get((path, iteration))

    def fits(self, *values: Any) -> bool:
        """Tell whether there is room for these values."""
        return self._bytes + sum(map(size_of, values)) <= self._max_bytes

    @property
    def no_room(self) -> str:
        """Return what is said of a step whose value does not fit."""
        return f"limit: max_values_mib: the values of all steps together have at most {self._max_bytes / MIB:g} MiB"

    def begin(self, step: Step, iteration: str, **values: Any) -> StepRow:
        """Add the row of a step that begins now."""
        row = StepRow(
            step.path, iteration, self._next, step.key, step.type, started_at=self.now, node=self.node, **values
        )
        self._next += 1
        self._bytes += size_of(row.input) + size_of(row.output)
        self._rows[row.place] = row
        self._new[row.place] = None
        return row

    def change(self, row: StepRow, **values: Any) -> StepRow:
        """Change the row of a step, and return it."""
        changed = replace(row, **values)
        self._rows[row.place] = changed
        if row.place not in self._new:
            self._changed[row.place] = None
        return changed

    def succeed(self, row: StepRow, output: Any) -> StepRow:
        """End a step with its value."""
        self._bytes += size_of(output) - size_of(row.output)
        return self.change(row, state="succeeded", output=output, error=None, wake_at=None, finished_at=self.now)

    def fail(self, row: StepRow, code: str, message: str) -> StepRow:
        """End a step with an error."""
        error = {"code": code, "message": message[:2000]}
        return self.change(row, state="failed", error=error, wake_at=None, finished_at=self.now)

    def cancel_below(self, prefix: str, iteration: str) -> Sequence[StepRow]:
        """Cancel every step that has not ended below a path, and return what they were."""
        below = [
            row
            for row in self._rows.values()
            if not row.is_over
            and row.path.startswith(prefix)
            and (row.iteration == iteration or not iteration or row.iteration.startswith(f"{iteration}."))
        ]
        for row in below:
            self.change(row, state="cancelled", wake_at=None, finished_at=self.now)
        return below

    def take_changes(self) -> tuple[Sequence[StepRow], Sequence[StepRow]]:
        """Return the rows to insert and those to update, and forget that they have to be written."""
        new = [self._rows[place] for place in self._new]
        changed = [self._rows[place] for place in self._changed]
        self._new.clear()
        self._changed.clear()
        return new, changed


def size_of(value: Any) -> int:
    """Return how many letters a value has as JSON, about; most values are numbers and short texts."""
    if value is None:
        return 0
    if isinstance(value, bool | int | float):
        return 8
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
