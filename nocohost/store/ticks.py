"""Ticks that have come: each becomes a job, in the one transaction that also writes its row, so it fires once."""

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import PluginContractError
from nocohost.api.schedule import Schedule
from nocohost.node.catch_up import Firing, firing
from nocohost.node.identity import new_id
from nocohost.node.ticks import read_ticks
from nocohost.store.hot.values import NewJob
from nocohost.store.insertion import insert_jobs
from nocohost.store.schema import schedules, ticks
from nocohost.store.types import Instant, db_after, db_now
from nocohost.store.upsert import insert_into


class Fired(NamedTuple):
    """A tick that has become a job."""

    schedule: str
    key: str
    tick_at: datetime
    job_id: str


class FiredPage(NamedTuple):
    """What one transaction did: the ticks that fired, and how many schedules it moved on."""

    fired: Sequence[Fired]
    moved: int
    unreadable: Sequence[tuple[str, str]]
    """Name and reason of schedules whose times this node cannot read, such as one in a time zone it lacks."""


async def seconds_to_tick(connection: AsyncConnection, keys: Collection[str], beside: Collection[str]) -> float | None:
    """Return how long the next tick of these keys is away by the database's clock, 0 or less when one has come.

    None when no schedule of them waits. Schedules named in ``beside`` are passed over.
    """
    query = select(func.min(schedules.c.next_at), db_now()).where(schedules.c.key.in_(sorted(keys)))
    if beside:
        query = query.where(schedules.c.name.not_in(sorted(beside)))
    next_at, now = (await connection.execute(query)).one()
    return None if next_at is None else (next_at - now).total_seconds()


async def fire_due(
    connection: AsyncConnection,
    keys: Collection[str],
    priority: Callable[[str], int],
    beside: Collection[str],
    *,
    page: int,
    limit: int,
) -> FiredPage:
    """Make the jobs of the ticks that have come, inside the caller's write transaction.

    At most ``page`` schedules and about ``limit`` ticks at a time. Schedules that another node is firing right now are
    passed over. However many nodes call this, and whatever their clocks say, a tick gets one job: its row is unique.
    """
    query = select(schedules, db_now().label("now")).where(
        schedules.c.key.in_(sorted(keys)), schedules.c.next_at <= db_now(), schedules.c.name.not_in(sorted(beside))
    )
    due = (
        await connection.execute(query.order_by(schedules.c.next_at).limit(page).with_for_update(skip_locked=True))
    ).all()
    plans: list[tuple[Row[Any], Firing]] = []
    unreadable: list[tuple[str, str]] = []
    for row in due:
        left = limit - sum(len(plan.ticks) for _, plan in plans)
        if left <= 0:
            break
        try:
            plans.append((row, _plan(row, left)))
        except PluginContractError as error:
            unreadable.append((row.name, str(error)))
    wanted = [Fired(row.name, row.key, tick, new_id()) for row, plan in plans for tick in plan.ticks]
    fired = await _own(connection, wanted)
    payloads = {row.name: json.dumps(row.payload, ensure_ascii=False, separators=(",", ":")) for row, _ in plans}
    if fired:
        await insert_jobs(connection, [_job(one, payloads[one.schedule], priority(one.key)) for one in fired])
    await _move(connection, plans)
    return FiredPage(fired, len(plans), unreadable)


async def find_tick(connection: AsyncConnection, schedule: str, job_id: str) -> datetime | None:
    """Return the instant of the tick that became this job; None without one. The latest ticks are looked at first."""
    query = select(ticks.c.tick_at).where(ticks.c.schedule == schedule, ticks.c.job_id == job_id)
    found: datetime | None = await connection.scalar(query.order_by(ticks.c.tick_at.desc()).limit(1))
    return found


async def remove_old_ticks(connection: AsyncConnection, *, older_than_seconds: float, limit: int) -> int:
    """Remove the rows of ticks that fired so long ago, at most ``limit``; return how many."""
    old = (
        select(ticks.c.schedule, ticks.c.tick_at)
        .where(ticks.c.fired_at <= select(db_after(-older_than_seconds)).scalar_subquery())
        .order_by(ticks.c.fired_at)
        .limit(limit)
    )
    gone = delete(ticks).where(tuple_(ticks.c.schedule, ticks.c.tick_at).in_(old))
    return int((await connection.execute(gone)).rowcount)


def _plan(row: Row[Any], limit: int) -> Firing:
    schedule = Schedule(
        row.name,
        row.key,
        row.payload,
        cron=row.cron,
        timezone=row.timezone,
        interval_seconds=row.interval_seconds,
        catch_up=row.catch_up,
    )
    return firing(read_ticks(schedule), schedule.catch_up, row.next_at, row.now, limit)


async def _own(connection: AsyncConnection, wanted: Sequence[Fired]) -> list[Fired]:
    """Write the rows of these ticks; return those that nobody had fired before."""
    if not wanted:
        return []
    rows = [{"schedule": one.schedule, "tick_at": one.tick_at, "job_id": one.job_id} for one in wanted]
    taking = (
        insert_into(connection, ticks).values([{**row, "fired_at": db_now()} for row in rows]).on_conflict_do_nothing()
    )
    mine = set((await connection.scalars(taking.returning(ticks.c.job_id))).all())
    return [one for one in wanted if one.job_id in mine]


async def _move(connection: AsyncConnection, plans: Sequence[tuple[Row[Any], Firing]]) -> None:
    """Let each schedule wait for its next tick."""
    if not plans:
        return
    moving = (
        update(schedules)
        .where(schedules.c.name == bindparam("moved"))
        .values(next_at=bindparam("then", type_=Instant()), last_at=bindparam("latest", type_=Instant()))
    )
    moves = [
        {"moved": row.name, "then": plan.next_at, "latest": plan.ticks[-1] if plan.ticks else row.last_at}
        for row, plan in plans
    ]
    await connection.execute(moving, moves)


def _job(one: Fired, payload: str, priority: int) -> NewJob:
    return NewJob(
        id=one.job_id,
        key=one.key,
        payload=payload,
        priority=priority,
        run_at=None,
        group=None,
        idempotency_key=None,
        unique_seconds=0.0,
        digest=b"",
    )
