"""Orphans: running jobs whose node's lease has ended or whose node's row is gone; and what time makes superfluous."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    delete,
    exists,
    literal,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.job import JobState
from nocohost.store.claims import RUNNING, holds
from nocohost.store.endings import Ending, end_jobs, storable
from nocohost.store.nodes import GONE_STATES, node_lives
from nocohost.store.schema import history, idempotency, jobs, nodes
from nocohost.store.types import db_after, db_now


class Lost(NamedTuple):
    """A running job whose node is gone; ``losses`` counts those before."""

    id: str
    key: str
    node_id: str
    claim_id: str
    attempts: int
    losses: int


class Fate(NamedTuple):
    """What becomes of a lost job: it is pending again, due after the delay, or a dead letter; ``error`` says why.

    ``charge`` counts an attempt. Whatever it is, the loss is counted.
    """

    state: JobState = JobState.PENDING
    delay_seconds: float = 0.0
    charge: bool = False
    error: str | None = None


RUN_AGAIN = Fate()


class Orphan(NamedTuple):
    """A job that has been freed; ``node_id`` is the node it was lost with."""

    id: str
    key: str
    node_id: str
    fate: Fate


@dataclass(frozen=True, slots=True)
class Freed:
    """What one page of a sweep freed: by their fates, and jobs that ended because cancelling was asked for."""

    orphans: Sequence[Orphan]
    cancelled: int


async def any_to_sweep(
    connection: AsyncConnection, node_id: str, keys: Sequence[str], absent: ColumnElement[bool]
) -> bool:
    """Tell whether another node is lapsed or ``absent``, or a job of these keys an orphan: all an idle sweep asks."""
    other = nodes.c.id != node_id
    lapsed = exists().where(other, nodes.c.lease_until <= db_now(), nodes.c.state.not_in(GONE_STATES))
    gone = exists().select_from(nodes).where(other, absent)
    query = select(literal(1)).where(or_(lapsed, gone, exists().where(_orphaned(node_id, keys))))
    return (await connection.execute(query)).first() is not None


async def free_orphans(
    connection: AsyncConnection,
    node_id: str,
    keys: Sequence[str],
    limit: int,
    judge: Callable[[Lost], Fate] = lambda _: RUN_AGAIN,
) -> Freed:
    """Free orphans of these keys as ``judge`` says, at most ``limit``; the claim of their old node ends here.

    The sweeping node's own jobs are left alone, and rows that somebody else is changing right now are passed over.
    """
    doomed = _chosen(and_(_orphaned(node_id, keys), jobs.c.cancel_requested), limit, "doomed")
    cancelled = await end_jobs(
        connection,
        and_(jobs.c.id.in_(doomed), _running(), jobs.c.cancel_requested),
        Ending(JobState.CANCELLED, last_error="cancelled on request; its node was lost"),
    )
    columns = (jobs.c.id, jobs.c.key, jobs.c.node_id, jobs.c.claim_id, jobs.c.attempts, jobs.c.losses)
    query = select(*columns).where(_orphaned(node_id, keys), not_(jobs.c.cancel_requested))
    rows = await connection.execute(query.order_by(jobs.c.id).limit(limit).with_for_update(skip_locked=True))
    fates = [(lost, judge(lost)) for lost in (Lost(*row) for row in rows)]
    freed = await _free_all(connection, [lost for lost, fate in fates if fate == RUN_AGAIN])
    for lost, fate in fates:
        if fate != RUN_AGAIN and await _free_one(connection, lost, fate):
            freed.append(Orphan(lost.id, lost.key, lost.node_id, fate))
    return Freed(freed, len(cancelled))


async def remove_expired_keys(connection: AsyncConnection, limit: int) -> int:
    """Remove idempotency keys whose time is over, at most ``limit``; return how many."""
    old = (
        select(idempotency.c.key, idempotency.c.idempotency_key)
        .where(idempotency.c.expires_at <= db_now())
        .limit(limit)
    )
    rows = (await connection.execute(old)).all()
    count = 0
    for row in rows:
        result = await connection.execute(
            delete(idempotency).where(
                idempotency.c.key == row.key,
                idempotency.c.idempotency_key == row.idempotency_key,
                idempotency.c.expires_at <= db_now(),
            )
        )
        count += result.rowcount
    return count


async def remove_old_history(connection: AsyncConnection, *, older_than_seconds: float, limit: int) -> int:
    """Remove jobs that have been over for so long, dead letters excepted, at most ``limit``; return how many."""
    # The states are spelt as the partial index spells them, so that both databases see that it fits.
    old = (
        select(history.c.id)
        .where(history.c.state != literal_column("'dead'"))
        .where(history.c.finished_at <= select(db_after(-older_than_seconds)).scalar_subquery())
        .order_by(history.c.finished_at)
        .limit(limit)
    )
    result = await connection.execute(delete(history).where(history.c.id.in_(old)))
    return int(result.rowcount)


async def _free_all(connection: AsyncConnection, lost: Sequence[Lost]) -> list[Orphan]:
    if not lost:
        return []
    freeing = (
        update(jobs)
        .where(jobs.c.id.in_([one.id for one in lost]), jobs.c.claim_id.in_({one.claim_id for one in lost}), _running())
        .values(state=JobState.PENDING.value, claim_id=None, losses=jobs.c.losses + 1)
    )
    rows = await connection.execute(freeing.returning(jobs.c.id, jobs.c.key, jobs.c.node_id))
    return [Orphan(row[0], row[1], row[2], RUN_AGAIN) for row in rows]


async def _free_one(connection: AsyncConnection, lost: Lost, fate: Fate) -> bool:
    error = None if fate.error is None else storable(fate.error)
    counting = update(jobs).where(holds(lost.id, lost.claim_id)).values(losses=jobs.c.losses + 1)
    if fate.state is JobState.PENDING:
        counting = counting.values(
            state=JobState.PENDING.value,
            claim_id=None,
            attempts=jobs.c.attempts + int(fate.charge),
            run_at=db_after(fate.delay_seconds),
            last_error=error,
        )
    if not (await connection.execute(counting)).rowcount:
        return False
    if fate.state is not JobState.PENDING:
        ending = Ending(fate.state, last_error=error, charge=fate.charge)
        await end_jobs(connection, holds(lost.id, lost.claim_id), ending)
    return True


def _running() -> ColumnElement[bool]:
    return jobs.c.state == JobState.RUNNING.value


def _orphaned(node_id: str, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(
        jobs.c.state == RUNNING,
        jobs.c.key.in_(sorted(keys)),
        jobs.c.node_id != node_id,
        not_(node_lives(jobs.c.node_id)),
    )


def _chosen(where: ColumnElement[bool], limit: int, name: str) -> Select[Any]:
    """Return the ids of at most ``limit`` jobs, locked; materialized, because a plan must not run it twice."""
    query = select(jobs.c.id).where(where).order_by(jobs.c.id).limit(limit).with_for_update(skip_locked=True)
    return select(query.cte(name).prefix_with("MATERIALIZED").c.id)
