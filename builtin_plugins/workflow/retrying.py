"""Which steps of an execution are run again: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.errors import WorkflowConflictError
from builtin_plugins.workflow.step_row import StepRow
from builtin_plugins.workflow.steps.forms import BLOCK_TYPES

Rows = tuple[list[StepRow], list[StepRow]]
"""Those that are removed, to begin anew; and the blocks around them, as they are gone on with."""


def rows_of_failure(rows: Sequence[StepRow], index: Mapping[str, Step]) -> Rows:
    """Return what failed or was cancelled, and was not taken care of by the definition; what succeeded stays."""
    gone, reopened = [], []
    for row in rows:
        is_block = row.type in BLOCK_TYPES
        handled = row.path in index and index[row.path].on_error != "fail"
        if row.state == "cancelled" or (row.state == "failed" and not handled) or row.type == "end":
            if (
                is_block
                and row.state in ("failed", "cancelled")
                and (row.cursor or row.output is not None or _ran(row))
            ):
                reopened.append(_open(row))
            else:
                gone.append(row)
    removed = {row.place for row in gone}
    # A block that never chose anything has failed by itself: it begins anew.
    return gone, [row for row in reopened if row.place not in removed]


def rows_from(rows: Sequence[StepRow], path: str) -> Rows:
    """Return a step, by its path, and all that began after it; in a loop its last round counts."""
    found = [row for row in rows if row.path == path]
    if not found:
        known = ", ".join(dict.fromkeys(row.path for row in rows))
        raise WorkflowConflictError(f"no step {path[:100]!r} has run", hint=f"these have: {known[:500] or 'none'}")
    first = found[-1]
    gone = [row for row in rows if row.number >= first.number]
    reopened = [
        _open(row, first)
        for row in rows
        if row.number < first.number
        and row.type in BLOCK_TYPES
        and path.startswith(f"{row.path}/")
        and (first.iteration == row.iteration or not row.iteration or first.iteration.startswith(f"{row.iteration}."))
    ]
    return gone, reopened


def _open(row: StepRow, inner: StepRow | None = None) -> StepRow:
    cursor, output = row.cursor, row.output
    if row.type == "loop":
        output = None
        if inner is not None and cursor is not None:
            depth = len(row.iteration.split(".")) if row.iteration else 0
            cursor = {"index": int(inner.iteration.split(".")[depth]), "errors": 0}
    if row.type == "parallel":
        output = None
    return replace(row, state="running", error=None, cursor=cursor, output=output, finished_at=None, wake_at=None)


def _ran(row: StepRow) -> bool:
    return row.type == "parallel" or (row.type == "loop" and row.cursor is not None)
