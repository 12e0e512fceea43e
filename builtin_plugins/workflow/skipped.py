"""The steps that an execution passed over: those of the blocks that a condition or switch did not choose. Pure."""

from collections.abc import Mapping, Sequence

from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.step_row import StepRow


def with_skipped(rows: Sequence[StepRow], index: Mapping[str, Step]) -> Sequence[StepRow]:
    """Return the steps, each choice followed by what it passed over."""
    shown: list[StepRow] = []
    for row in rows:
        shown.append(row)
        step = index.get(row.path)
        if step is None or row.type not in ("condition", "switch") or row.output is None:
            continue
        chosen = row.output if row.type == "switch" else ("then" if row.output else "else")
        shown += [
            StepRow(inner.path, row.iteration, row.number, inner.key, inner.type, "skipped", row.started_at, attempts=0)
            for name, block in step.blocks.items()
            if name not in (chosen, "on_error")
            for one in block
            for inner in one.walk()
        ]
    return shown
