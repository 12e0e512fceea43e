"""Many jobs at once, by what they have in common: retried, cancelled or dropped page by page."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, literal_column, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.app import Database
from nocohost.api.errors import PayloadError
from nocohost.api.job import JobState
from nocohost.store.brief import write_briefly
from nocohost.store.endings import Ending, end_jobs
from nocohost.store.jobs import HOT_STATES, drop_pending, renew_jobs
from nocohost.store.nodes import node_lives
from nocohost.store.schema import history, jobs
from nocohost.store.types import db_now

PAGE_JOBS = 500
"""So many jobs are changed in one transaction, so that nobody waits long for the rows or for SQLite's one writer."""
STATES: Mapping[str, Sequence[JobState]] = {
    "retry": (JobState.DEAD, JobState.CANCELLED),
    "cancel": (JobState.PENDING, JobState.RUNNING),
    "drop": (JobState.PENDING, JobState.DEAD),
}
"""The states in which a job can be retried, cancelled, dropped."""
REASONS: Mapping[str, str] = {
    "moved": "moved on to another state, or were changed by somebody else, before their turn came",
    "busy": "somebody else was changing them at that moment; the same command once more takes them",
}
"""Why a job that fitted was left as it was."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Jobs of one key in one state: those that are over ended, the others were enqueued, before an instant."""

    key: str
    state: JobState
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of the jobs that fitted a filter as it was first looked at; the other numbers add up to ``matched``."""

    matched: int
    changed: int = 0
    moved: int = 0
    busy: int = 0
    left: int = 0
    """Not yet looked at, because the limit was reached, or because they were only to be counted."""

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        counts = {"moved": self.moved, "busy": self.busy}
        refused = [{"code": code, "count": n, "message": REASONS[code]} for code, n in counts.items() if n]
        return {"matched": self.matched, "changed": self.changed, "left": self.left, "refused": refused}


def check_operation(operation: str, state: JobState) -> None:
    """Raise ``PayloadError`` unless jobs in this state can be retried, cancelled or dropped, whichever is meant."""
    if state not in STATES[operation]:
        states = " or ".join(STATES[operation])
        raise PayloadError(f"no job that is {state} can be changed by {operation}", hint=f"give the state {states}")


async def change_jobs(
    database: Database, operation: str, wanted: JobFilter, *, limit: int | None = None, dry_run: bool = False
) -> Changed:
    """Retry, cancel or drop the jobs that fit, each page in a transaction of its own; with ``dry_run`` only count.

    What comes into the state later is left alone, so a retried job that dies once more is not retried for ever. Running
    jobs are asked to stop, and stop within moments; those whose node is gone are over at once. Whoever is interrupted
    keeps what is done, and goes on by asking again. Raises ``PayloadError`` for a state that does not allow it.
    """
    check_operation(operation, wanted.state)
    async with database.connect() as connection:
        now = await connection.scalar(select(db_now()))
        assert now is not None
        wanted = replace(wanted, before=now if wanted.before is None else min(wanted.before, now))
        matched = await _count(connection, wanted)
    if dry_run or not matched:
        return Changed(matched, left=matched)
    changed, is_through = await _walk(database, operation, wanted, matched if limit is None else limit)
    async with database.connect() as connection:
        fits_still = await _count(connection, wanted)
    matched = max(matched, changed + fits_still)
    moved = matched - changed - fits_still
    return Changed(matched, changed, moved, *((fits_still, 0) if is_through else (0, fits_still)))


async def _walk(database: Database, operation: str, wanted: JobFilter, limit: int) -> tuple[int, bool]:
    """Change up to ``limit`` jobs; return how many it were, and whether all that fit were looked at."""
    change = CHANGES[operation, wanted.state in HOT_STATES]
    changed, last = 0, None
    while changed < limit:
        size = min(PAGE_JOBS, limit - changed)
        page = await write_briefly(database, partial(_change_page, change=change, wanted=wanted, last=last, size=size))
        changed += len(page)
        if len(page) < size:
            return changed, True
        last = page[-1]
    return changed, False


async def _change_page(
    connection: AsyncConnection, *, change: "Change", wanted: JobFilter, last: Row[Any] | None, size: int
) -> Sequence[Row[Any]]:
    page: Sequence[Row[Any]] = (await connection.execute(_page(wanted, last, size))).all()
    if page:
        await change(connection, [row.id for row in page])
    return page


async def _cancel(connection: AsyncConnection, ids: Sequence[str]) -> None:
    mine = jobs.c.id.in_(ids)
    idle = or_(jobs.c.state == JobState.PENDING.value, not_(node_lives(jobs.c.node_id)))
    await end_jobs(connection, and_(mine, idle), Ending(JobState.CANCELLED, last_error="cancelled on request"))
    await connection.execute(update(jobs).where(mine).values(cancel_requested=True))


async def _drop_dead(connection: AsyncConnection, ids: Sequence[str]) -> None:
    await connection.execute(delete(history).where(history.c.id.in_(ids)))


Change = Callable[[AsyncConnection, Sequence[str]], Awaitable[None]]
CHANGES: Mapping[tuple[str, bool], Change] = {
    ("retry", False): renew_jobs,
    ("cancel", True): _cancel,
    ("drop", True): drop_pending,
    ("drop", False): _drop_dead,
}
"""What is done, by the operation and whether the jobs are in the hot table. The connection holds their rows locked."""


async def _count(connection: AsyncConnection, wanted: JobFilter) -> int:
    return await connection.scalar(select(func.count()).where(_fits(wanted))) or 0


def _fits(wanted: JobFilter) -> ColumnElement[bool]:
    table, since = (jobs, jobs.c.enqueued_at) if wanted.state in HOT_STATES else (history, history.c.finished_at)
    # The state is spelt out, because a partial index is not found through a parameter.
    is_in_state = table.c.state == literal_column(f"'{wanted.state.value}'")
    fits = and_(table.c.key == wanted.key, is_in_state, since < wanted.before)
    return and_(fits, not_(jobs.c.cancel_requested)) if wanted.state is JobState.RUNNING else fits


def _page(wanted: JobFilter, last: Row[Any] | None, size: int) -> Select[Any]:
    """Return the query of a page, in an order that an index has, so that no page passes the pages before it again."""
    fits = _fits(wanted)
    if wanted.state in HOT_STATES:
        query = select(jobs.c.id).order_by(jobs.c.id)
        if last is not None:
            fits = and_(fits, jobs.c.id > last.id)
    else:
        at, job_id = history.c.finished_at, history.c.id
        query = select(job_id, at).order_by(at, job_id)
        if last is not None:
            fits = and_(fits, at >= last.finished_at, or_(at > last.finished_at, job_id > last.id))
    return query.where(fits).limit(size).with_for_update(skip_locked=True)
