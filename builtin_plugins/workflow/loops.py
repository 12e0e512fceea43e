"""The items of a loop before it begins, and its value after it has ended."""

import json
from collections.abc import Mapping
from typing import Any

from builtin_plugins.workflow.definition import Step
from builtin_plugins.workflow.errors import ExpressionError
from builtin_plugins.workflow.progress import Progress
from builtin_plugins.workflow.step_row import StepRow

VALUE_BYTES = 1024 * 1024


def loop_items(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a loop goes over: ``items`` and ``count``; nothing for one with ``while``."""
    most = params.get("max", 1000)
    if "over" in params:
        items = params["over"]
        if not isinstance(items, list):
            raise ExpressionError(f"over is {type(items).__name__}, not a list")
        if len(items) > most:
            raise loop_failure(most)
        return {"items": items, "count": len(items)}
    if "count" in params:
        count = params["count"]
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ExpressionError(f"count is {str(count)[:100]}, not a number of rounds")
        if count > most:
            raise loop_failure(most)
        return {"count": count}
    return {}


def loop_failure(most: int) -> ExpressionError:
    """Return what a loop fails with that would go on for longer than it may."""
    return ExpressionError(f"limit: max: the loop has at most {most} rounds", code="workflow.limit")


def loop_value(step: Step, row: StepRow, progress: Progress) -> Mapping[str, Any]:
    """Return the value of a loop: how many rounds and errors, and what the last step of each round gave."""
    rounds = row.cursor["index"]
    value = {"count": rounds, "errors": row.cursor["errors"], "values": []}
    steps = step.blocks["do"]
    if steps:
        places = (f"{row.iteration}.{index}" if row.iteration else str(index) for index in range(rounds))
        found = [progress.find(steps[-1].path, place) for place in places]
        values = [one.output if one is not None and one.state == "succeeded" else None for one in found]
        if len(json.dumps(values)) <= VALUE_BYTES:
            value["values"] = values
    return value
