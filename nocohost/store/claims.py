"""Claims: taking jobs, and every write of a running attempt, each conditional on ``(id, running, claim_id)``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Update,
    and_,
    exists,
    func,
    literal,
    literal_column,
    not_,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import FenceLostError
from nocohost.api.job import JobState
from nocohost.store.endings import Ending, end_jobs
from nocohost.store.hot.values import ClaimedJob
from nocohost.store.keys import drain_is_over
from nocohost.store.schema import history, jobs
from nocohost.store.types import db_now

COMMITTING_MILLISECONDS = 5000
"""Shorter than a lease, so that a frozen node is no longer in the way when its own has ended; longer than a loop is
usually held up."""

PENDING: ColumnElement[str] = literal_column("'pending'")
RUNNING: ColumnElement[str] = literal_column("'running'")
"""Spelt out in the SQL, because a partial index is not found through a parameter."""
CANCELLED = Ending(JobState.CANCELLED, last_error="cancelled on request")


class Claimed(Protocol):
    """What a write of a running attempt must know of its claim."""

    @property
    def id(self) -> str:
        """Return the id of the job."""

    @property
    def key(self) -> str:
        """Return its service key."""

    @property
    def fence(self) -> int:
        """Return the number of the claim."""

    @property
    def claim_id(self) -> str:
        """Return the right to write."""


@dataclass(frozen=True, slots=True)
class HeldJob:
    """What the database says a node is running."""

    id: str
    claim_id: str
    cancel_requested: bool
    is_drained: bool = False
    """The time of a drain of its key is over."""


async def any_due(connection: AsyncConnection, keys: Sequence[str]) -> bool:
    """Tell whether a job of these keys is due: the cheap question before SQLite's write lock is taken."""
    query = select(literal(1)).where(exists().where(jobs.c.key.in_(sorted(keys)), _due()))
    return (await connection.execute(query)).first() is not None


async def held_jobs(connection: AsyncConnection, node_id: str) -> list[HeldJob]:
    """Return what a node holds by the database's account."""
    over = drain_is_over(jobs.c.key)
    query = select(jobs.c.id, jobs.c.claim_id, jobs.c.cancel_requested, over).where(_held_by(node_id))
    return [HeldJob(*row) for row in await connection.execute(query)]


async def release_unknown(connection: AsyncConnection, node_id: str, known: Sequence[HeldJob]) -> int:
    """Put back, uncharged, what the node holds without knowing: claims whose answer was lost on the way.

    What was to be cancelled ends so; a job that is cancelled at this very moment is left for the next look. Return how
    many are no longer held. The connection must be in a write transaction.
    """
    count = 0
    for one in known:
        mine = holds(one.id, one.claim_id) & (jobs.c.node_id == node_id)
        if one.cancel_requested:
            count += len(await end_jobs(connection, mine, CANCELLED))
        else:
            count += (await connection.execute(_released(mine))).rowcount
    return count


async def hand_back(connection: AsyncConnection, node_id: str) -> int:
    """Hand back, uncharged, what a leaving node still holds; what was to be cancelled ends so. Return how many.

    The connection must be in a write transaction.
    """
    await end_jobs(connection, _held_by(node_id) & jobs.c.cancel_requested, CANCELLED)
    return int((await connection.execute(released_jobs(node_id))).rowcount)


def released_jobs(node_id: str) -> Update:
    """Return the statement by which a leaving node hands back, uncharged, what it still holds.

    What was to be cancelled stays, and ends so by the sweep of a node that lives: this one is leaving.
    """
    return _released(_held_by(node_id))


async def store_progress(connection: AsyncConnection, job: Claimed, progress: Mapping[str, Any]) -> bool:
    """Store how far the attempt is; return whether cancelling was asked for. Raises ``FenceLostError``."""
    statement = update(jobs).where(holds(job.id, job.claim_id)).values(progress=dict(progress))
    row = (await connection.execute(statement.returning(jobs.c.cancel_requested))).first()
    if row is None:
        raise fence_lost(job)
    return bool(row.cancel_requested)


async def verify_claim(connection: AsyncConnection, job: Claimed) -> None:
    """Make sure that the claim holds until this transaction ends; raises ``FenceLostError``.

    The row stays locked against every other claim, sweep and ack until then. The commit comes next: on PostgreSQL a
    process that freezes before it loses its session, and the lock, after ``COMMITTING_MILLISECONDS``.
    """
    query = select(jobs.c.id).where(holds(job.id, job.claim_id)).with_for_update(read=True)
    if connection.dialect.name == "postgresql":
        limit = func.set_config("idle_in_transaction_session_timeout", str(COMMITTING_MILLISECONDS), True)
        query = query.add_columns(limit)
    if (await connection.execute(query)).first() is None:
        raise fence_lost(job)


async def was_written(connection: AsyncConnection, job: ClaimedJob, node_id: str) -> bool:
    """Tell whether the write that ended this attempt arrived although its answer was lost.

    A fence number is given once, so a job that ended or went back under this one, and not by a sweep, was ended by us.
    """
    ended = select(history.c.id).where(history.c.id == job.id, history.c.fence == job.fence)
    back = select(jobs.c.id).where(jobs.c.id == job.id, jobs.c.fence == job.fence, jobs.c.state == "pending")
    query = union_all(
        ended.where(history.c.node_id == node_id, history.c.losses == job.losses),
        back.where(jobs.c.node_id == node_id, jobs.c.losses == job.losses),
    )
    return (await connection.execute(query)).first() is not None


def holds(job_id: str, claim_id: str) -> ColumnElement[bool]:
    """Return the condition on which every write of an attempt rests."""
    return and_(jobs.c.id == job_id, jobs.c.state == JobState.RUNNING.value, jobs.c.claim_id == claim_id)


def fence_lost(job: Claimed) -> FenceLostError:
    """Return the error that an attempt gets when its job has moved on."""
    return FenceLostError(
        f"this attempt (fence {job.fence}) no longer holds job {job.id} of {job.key}",
        hint="nothing was written; another attempt has the job, or it is over",
    )


def _held_by(node_id: str) -> ColumnElement[bool]:
    return and_(jobs.c.node_id == node_id, jobs.c.state == RUNNING)


def _due() -> ColumnElement[bool]:
    # The subquery gives the planner one instant to compare the index with, instead of a call for each row.
    return and_(jobs.c.state == PENDING, jobs.c.run_at <= select(db_now()).scalar_subquery())


def _released(where: ColumnElement[bool]) -> Update:
    # A job that somebody has cancelled must not become pending, where it would be claimed again.
    return update(jobs).where(where, not_(jobs.c.cancel_requested)).values(state=JobState.PENDING.value, claim_id=None)
