"""Schedules as they are stored: made, changed, paused, listed. Those in code have a row too, so all are one thing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import JobConflictError, PluginContractError, ScheduleNotFoundError, StoreConflictError
from nocohost.api.schedule import CatchUp, Schedule
from nocohost.node.ticks import read_ticks
from nocohost.store.nodes import live_nodes
from nocohost.store.schema import schedules
from nocohost.store.types import db_now, instant_text
from nocohost.store.upsert import insert_into

TRIES = 5
LIST_LIMIT = 1000
TIMES = ("cron", "timezone", "interval_seconds")
"""The columns that decide when a schedule ticks."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule as it is stored; satisfies ``nocohost.api.app.ScheduleView``."""

    name: str
    key: str
    payload: Mapping[str, Any]
    cron: str | None
    timezone: str
    interval_seconds: float | None
    catch_up: CatchUp
    source: str
    owner: str | None
    """The service key whose code registers it."""
    paused_at: datetime | None
    next_at: datetime | None
    last_at: datetime | None
    changed_at: datetime

    @property
    def schedule(self) -> Schedule:
        """Return what it enqueues, and when."""
        return Schedule(
            self.name,
            self.key,
            self.payload,
            cron=self.cron,
            timezone=self.timezone,
            interval_seconds=self.interval_seconds,
            catch_up=self.catch_up,
        )


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """Some schedules, by name; ``next`` is the cursor of the following page, None on the last one."""

    items: Sequence[ScheduleRow]
    next: str | None


def schedule_json(row: ScheduleRow) -> dict[str, Any]:
    """Return the schedule as the command line and the API show it."""
    return {
        "name": row.name,
        "key": row.key,
        "cron": row.cron,
        "timezone": row.timezone,
        "interval_seconds": row.interval_seconds,
        "catch_up": row.catch_up,
        "source": row.source,
        "state": "active" if row.paused_at is None else "paused",
        "description": _words(row),
        "next_at": instant_text(row.next_at),
        "last_at": instant_text(row.last_at),
        "paused_at": instant_text(row.paused_at),
    }


def changes_of(row: ScheduleRow, schedule: Schedule, payload: Any) -> dict[str, Any]:
    """Return the columns in which ``row`` differs from ``schedule`` with the checked ``payload``."""
    return {name: value for name, value in _values(schedule, payload).items() if getattr(row, name) != value}


async def list_schedules(
    connection: AsyncConnection, *, key: str | None = None, limit: int = LIST_LIMIT, after: str | None = None
) -> SchedulePage:
    """Return schedules by name; ``after`` is the cursor that an earlier page gave. At most 1000 a page."""
    count = max(1, min(limit, LIST_LIMIT))
    query = select(schedules).order_by(schedules.c.name).limit(count + 1)
    if key is not None:
        query = query.where(schedules.c.key == key)
    if after is not None:
        query = query.where(schedules.c.name > after)
    rows = [_row(row) for row in await connection.execute(query)]
    return SchedulePage(rows[:count], rows[count - 1].name if len(rows) > count else None)


async def get_schedule(connection: AsyncConnection, name: str) -> ScheduleRow:
    """Return the schedule of this name; raises ``ScheduleNotFoundError``."""
    row = (await connection.execute(select(schedules).where(schedules.c.name == name))).first()
    if row is None:
        raise not_found(name)
    return _row(row)


async def put_schedule(
    connection: AsyncConnection, schedule: Schedule, payload: Any, *, owner: str | None, served: Collection[str] = ()
) -> bool:
    """Make the schedule or change it, inside the caller's write transaction; tell whether anything is new.

    ``owner`` is the service key whose code registers it, None for one kept in the database; ``payload`` is the checked
    one. The next tick stays as it is unless the times change. A name passes from one owner to another when no live
    node serves the former, ``served`` being what they serve. Raises ``JobConflictError`` when the name is somebody
    else's, and ``PluginContractError`` for times that cannot be.
    """
    ticks = read_ticks(schedule)
    for _ in range(TRIES):
        row = await _locked(connection, schedule.name)
        now = await _now(connection)
        if row is None:
            values = _values(schedule, payload) | {"next_at": ticks.after(now), "changed_at": now}
            origin = {"source": "database" if owner is None else "code", "owner": owner}
            making = (
                insert_into(connection, schedules)
                .values(name=schedule.name, **values, **origin)
                .on_conflict_do_nothing()
            )
            if (await connection.execute(making.returning(schedules.c.name))).first() is not None:
                return True
            continue  # somebody made it at this moment
        if row.owner != owner and (owner is None or row.owner is None or row.owner in served):
            raise JobConflictError(
                f"the name of schedule {schedule.name!r} belongs to {_belongs(row)}", hint="give it another name"
            )
        changes = changes_of(row, schedule, payload)
        if row.owner != owner:
            changes["owner"] = owner
        if not changes:
            return False
        if row.paused_at is None and not changes.keys().isdisjoint(TIMES):
            changes["next_at"] = ticks.after(now)
        await _change(connection, schedule.name, {**changes, "changed_at": now})
        return True
    raise StoreConflictError(f"the schedule {schedule.name!r} changes hands too fast", hint="try again")


async def remove_schedule(connection: AsyncConnection, name: str) -> bool:
    """Remove a schedule; return False without one.

    Raises ``JobConflictError`` for one in code while a live node serves the service that registers it.
    """
    row = await _locked(connection, name)
    if row is None:
        return False
    if row.owner is not None and any(row.owner in node.services for node in await live_nodes(connection)):
        raise JobConflictError(
            f"schedule {name!r} is in the code of {row.owner}", hint="pause it, or remove it from the code"
        )
    await connection.execute(delete(schedules).where(schedules.c.name == name))
    return True


async def pause_schedule(connection: AsyncConnection, name: str) -> ScheduleRow:
    """Let a schedule make no more jobs until it is resumed; return it. Raises ``ScheduleNotFoundError``."""
    row = await _locked(connection, name)
    if row is None:
        raise not_found(name)
    if row.paused_at is None:
        await _change(connection, name, {"paused_at": await _now(connection), "next_at": null()})
    return await get_schedule(connection, name)


async def resume_schedule(connection: AsyncConnection, name: str) -> ScheduleRow:
    """Let a paused schedule tick again, from now: what it missed is dropped. Raises ``ScheduleNotFoundError``."""
    row = await _locked(connection, name)
    if row is None:
        raise not_found(name)
    if row.paused_at is not None:
        next_at = read_ticks(row.schedule).after(await _now(connection))
        await _change(connection, name, {"paused_at": null(), "next_at": next_at})
    return await get_schedule(connection, name)


async def coded_schedules(connection: AsyncConnection, owners: Collection[str]) -> list[ScheduleRow]:
    """Return the schedules in code whose owner is among ``owners``."""
    query = select(schedules).where(schedules.c.owner.in_(sorted(owners))).order_by(schedules.c.name)
    return [_row(row) for row in await connection.execute(query)]


async def drop_coded(connection: AsyncConnection, name: str, owner: str) -> bool:
    """Remove a schedule that is no longer in the code of ``owner``; tell whether it was there."""
    gone = delete(schedules).where(schedules.c.name == name, schedules.c.owner == owner)
    return bool((await connection.execute(gone)).rowcount)


def not_found(name: str) -> ScheduleNotFoundError:
    """Return the error for a name that is no schedule's."""
    return ScheduleNotFoundError(f"there is no schedule {name[:200]!r}", hint="see: nocohost schedules list")


async def _locked(connection: AsyncConnection, name: str) -> ScheduleRow | None:
    row = (await connection.execute(select(schedules).where(schedules.c.name == name).with_for_update())).first()
    return None if row is None else _row(row)


async def _change(connection: AsyncConnection, name: str, values: Mapping[str, Any]) -> None:
    await connection.execute(update(schedules).where(schedules.c.name == name).values(**values))


async def _now(connection: AsyncConnection) -> datetime:
    now: datetime = (await connection.execute(select(db_now()))).scalar_one()
    return now


def _values(schedule: Schedule, payload: Any) -> dict[str, Any]:
    return {
        "key": schedule.key,
        "payload": payload,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "interval_seconds": schedule.interval_seconds,
        "catch_up": schedule.catch_up,
    }


def _row(row: Row[Any]) -> ScheduleRow:
    return ScheduleRow(**row._asdict())


def _belongs(row: ScheduleRow) -> str:
    return "one in the database" if row.owner is None else f"one in the code of {row.owner}"


def _words(row: ScheduleRow) -> str:
    try:
        return read_ticks(row.schedule).words
    except PluginContractError as error:  # written by a node that knows more zones
        return str(error)
