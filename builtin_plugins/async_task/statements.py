"""What the child of a task writes of it, as statements for a connection of either kind."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Delete, Update, delete, insert, update
from sqlalchemy.sql.dml import Insert

from builtin_plugins.async_task.row_error import RowError
from builtin_plugins.async_task.tables import row_errors, tasks

ROWS = 1000
"""So many row errors go into one statement."""


def store_progress(task_id: str, progress: dict[str, Any]) -> Update:
    """Return what stores the progress of a task."""
    return update(tasks).where(tasks.c.id == task_id).values(progress=progress)


def store_checkpoint(task_id: str, checkpoint: Any) -> Update:
    """Return what stores where the next attempt starts."""
    return update(tasks).where(tasks.c.id == task_id).values(checkpoint=checkpoint)


def count_errors(task_id: str, count: int) -> Update:
    """Return what adds ``count`` to the row errors of a task, and returns how many it then has."""
    return (
        update(tasks)
        .where(tasks.c.id == task_id)
        .values(row_errors=tasks.c.row_errors + count)
        .returning(tasks.c.row_errors)
    )


def cut_errors(task_id: str, count: int) -> tuple[Update, Delete]:
    """Return what leaves a task its first ``count`` row errors."""
    return (
        update(tasks).where(tasks.c.id == task_id, tasks.c.row_errors > count).values(row_errors=count),
        delete(row_errors).where(row_errors.c.task_id == task_id, row_errors.c.number >= count),
    )


def store_errors(task_id: str, errors: Sequence[RowError], counted: int, most: int) -> Iterable[tuple[Insert, Any]]:
    """Yield what stores ``errors``, the last of the ``counted`` that a task has; those past ``most`` are only counted.

    Each is a statement and its rows.
    """
    first = counted - len(errors)
    kept = [
        {
            "task_id": task_id,
            "number": number,
            "row": error.row,
            "field": error.field,
            "value": error.value,
            "reason": error.reason,
        }
        for number, error in enumerate((error.shortened() for error in errors), first)
        if number < most
    ]
    for start in range(0, len(kept), ROWS):
        yield insert(row_errors), kept[start : start + ROWS]
