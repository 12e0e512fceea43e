"""Tasks as they stand in the database: made, found, and listed."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import time_ns
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from builtin_plugins.async_task.tables import row_errors, tasks

OPEN = ("pending", "running")
STATES = ("pending", "running", "succeeded", "failed", "cancelled")
SHOWN = tuple(column for column in tasks.c if column.name not in {"checkpoint", "digest", "params", "request", "tag"})


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task as it is stored; what its job has become meanwhile is not in it."""

    id: str
    kind: str
    title: str
    owner: str
    upload: str | None
    upload_name: str | None
    state: str
    job_id: str
    fence: int
    attempts: int
    progress: Any
    row_errors: int
    result_file: Any
    """``id``, ``name``, ``size`` and ``media_type`` of the file that it has made."""
    result: Any
    error: str | None
    """Why it has failed; of an open one, why the node that claimed it last could not begin it."""
    node: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Tell whether the task is not over by what is stored."""
        return self.state in OPEN


def new_id() -> str:
    """Return a UUID of version 7: sorted as text, later ones come later, to a quarter of a microsecond."""
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    number = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=number))


async def find_tasks(connection: AsyncConnection, ids: Collection[str]) -> dict[str, TaskRow]:
    """Return those of the tasks that are there, by id."""
    rows = (await connection.execute(select(*SHOWN).where(tasks.c.id.in_(ids)))).all()
    return {row.id: _task(row) for row in rows}


async def find_request(connection: AsyncConnection, owner: str, request: str) -> TaskRow | None:
    """Return the task that its owner made with this idempotency key."""
    query = select(*SHOWN).where(tasks.c.owner == owner, tasks.c.request == request)
    row = (await connection.execute(query)).first()
    return None if row is None else _task(row)


async def list_tasks(
    connection: AsyncConnection,
    *,
    limit: int,
    after: str | None = None,
    owner: str | None = None,
    kind: str | None = None,
    states: Collection[str] = (),
) -> Sequence[TaskRow]:
    """Return tasks, newest first, at most ``limit``; ``after`` is the id of the last one of the page before."""
    query = select(*SHOWN).order_by(tasks.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(tasks.c.id < after)
    if owner is not None:
        query = query.where(tasks.c.owner == owner)
    if kind is not None:
        query = query.where(tasks.c.kind == kind)
    if states:
        query = query.where(tasks.c.state.in_(states))
    return [_task(row) for row in (await connection.execute(query)).all()]


async def next_tag(connection: AsyncConnection, owner: str) -> int:
    """Return the place of a new task among those of all owners: the lower, the sooner.

    Start-time fair queueing: the place follows on the owner's last task, or on the one whose turn it is now. So owners
    take turns, however many tasks any of them has waiting; who has nothing waiting saves nothing up. Who has hundreds
    waiting takes a turn less often, down to a tenth: one more or less makes no difference to them, but to others.
    """
    waiting = tasks.c.state == "pending", tasks.c.error.is_(None)  # those that no node could begin keep nobody's turn
    now = await connection.scalar(select(func.min(tasks.c.tag)).where(*waiting))
    if now is None:
        now = await connection.scalar(select(func.max(tasks.c.tag)).where(tasks.c.state == "running")) or 0
    own = [
        await connection.scalar(select(func.max(tasks.c.tag)).where(tasks.c.owner == owner, tasks.c.state == state))
        for state in OPEN
    ]
    last: int = max(now, *(tag or 0 for tag in own))
    step: int = 1 + min((last - now) // STEP_TAGS, LONGEST_STEP - 1)
    return min(last + step, LAST_TAG)


STEP_TAGS = 100
LONGEST_STEP = 10
LAST_TAG = 2**31 - 1
"""The highest priority of a job."""


async def list_errors(connection: AsyncConnection, task_id: str, *, first: int, limit: int) -> Sequence[Any]:
    """Return row errors in the order in which they were added, from the ``first`` on, counted from 0."""
    query = (
        select(row_errors.c.number, row_errors.c.row, row_errors.c.field, row_errors.c.value, row_errors.c.reason)
        .where(row_errors.c.task_id == task_id, row_errors.c.number >= first)
        .order_by(row_errors.c.number)
        .limit(limit)
    )
    return (await connection.execute(query)).all()


def _task(row: Row[Any]) -> TaskRow:
    return TaskRow(**row._asdict())
