"""What holds of a service key in the whole cluster: who paused it, until when it drains, whether anybody served it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, literal_column, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import UnknownKeyError
from nocohost.api.keys import nearest
from nocohost.store.schema import history, jobs, keys
from nocohost.store.types import db_after, db_now
from nocohost.store.upsert import insert_into

DRAIN_SECONDS = 25.0
"""How long what runs of a key may go on when the key is drained, unless somebody says otherwise."""
STAMP_SECONDS = 50.0
"""A stamp younger than this is left alone, so that the nodes which serve a key write it once a minute together."""

RUNS = jobs.c.state == literal_column("'running'")
"""Spelt out in the SQL, because a partial index is not found through a parameter."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One service key as it is stored; a key without a row was never served, paused or drained."""

    key: str
    paused_at: datetime | None = None
    paused_by: str | None = None
    drain_until: datetime | None = None
    first_served_at: datetime | None = None
    last_served_at: datetime | None = None


async def read_keys(connection: AsyncConnection) -> dict[str, KeyRow]:
    """Return every key that has a row."""
    return {row.key: KeyRow(**row._asdict()) for row in await connection.execute(select(keys))}


async def note_served(connection: AsyncConnection, served: Collection[str]) -> None:
    """Note that these keys are served now, in one statement; the connection must be in a write transaction.

    Sorted, so that two nodes which note the same keys cannot wait for each other.
    """
    if not served:
        return
    rows = [{"key": key, "first_served_at": db_now(), "last_served_at": db_now()} for key in sorted(served)]
    noting = insert_into(connection, keys).values(rows)
    # A row that a pause has made knows of no server yet.
    old = or_(keys.c.last_served_at.is_(None), keys.c.last_served_at < db_after(-STAMP_SECONDS))
    stamps = {"first_served_at": func.coalesce(keys.c.first_served_at, db_now()), "last_served_at": db_now()}
    await connection.execute(noting.on_conflict_do_update(index_elements=[keys.c.key], set_=stamps, where=old))


async def pause_key(connection: AsyncConnection, key: str, by: str) -> None:
    """Let nobody claim the key from the commit on; what runs goes on. A key that is paused stays so, by whom it was."""
    pausing = insert_into(connection, keys).values(key=key, paused_at=db_now(), paused_by=by)
    first = {
        "paused_at": func.coalesce(keys.c.paused_at, db_now()),
        "paused_by": case((keys.c.paused_at.is_(None), by), else_=keys.c.paused_by),
    }
    await connection.execute(pausing.on_conflict_do_update(index_elements=[keys.c.key], set_=first))


async def drain_key(connection: AsyncConnection, key: str, by: str, *, within_seconds: float) -> list[str]:
    """Pause the key, and have its nodes release, uncharged, what still runs after ``within_seconds``.

    Returns the ids of the jobs that run now.
    """
    await pause_key(connection, key, by)
    await connection.execute(update(keys).where(keys.c.key == key).values(drain_until=db_after(within_seconds)))
    running = select(jobs.c.id).where(jobs.c.key == key, RUNS)
    return list((await connection.scalars(running.order_by(jobs.c.id))).all())


async def resume_key(connection: AsyncConnection, key: str) -> None:
    """Let the key be claimed again; a drain under way ends."""
    nobody: dict[str, Any] = {"paused_at": null(), "paused_by": null(), "drain_until": null()}
    await connection.execute(update(keys).where(keys.c.key == key).values(**nobody))


async def require_key(connection: AsyncConnection, key: str, declared: Collection[str]) -> None:
    """Raise ``UnknownKeyError`` unless the key is ``declared``, or the database knows it: by its row or by its jobs."""
    if key in declared:
        return
    known = or_(*(exists().where(table.c.key == key) for table in (keys, jobs, history)))
    if await connection.scalar(select(known)):
        return
    suggestion = nearest(key, declared)
    raise UnknownKeyError(
        f"no installed plugin declares the service key {key!r}, and it has no jobs",
        hint=f"did you mean {suggestion!r}?" if suggestion else "see: nocohost queue list",
    )


async def count_running(connection: AsyncConnection, key: str) -> int:
    """Return how many jobs of the key run, orphans included."""
    return await connection.scalar(select(func.count()).select_from(jobs).where(jobs.c.key == key, RUNS)) or 0


async def count_released(connection: AsyncConnection, ids: Sequence[str]) -> int:
    """Return how many of these jobs, which ran, are pending now."""
    page = 1000
    count = 0
    for start in range(0, len(ids), page):
        some = and_(jobs.c.id.in_(ids[start : start + page]), jobs.c.state == "pending")
        count += await connection.scalar(select(func.count()).where(some)) or 0
    return count


def drain_is_over(key: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that the time of a drain of this key is over: what runs must be released."""
    return exists().where(keys.c.key == key, keys.c.drain_until <= db_now()).correlate_except(keys)
