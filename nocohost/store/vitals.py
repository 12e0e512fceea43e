"""The database's own health, as far as it concerns a queue: its clock, what it waits for, what it cannot clean away."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.schema import history
from nocohost.store.types import db_now

SNAPSHOT_SECONDS = 60.0
WAIT_SECONDS = 5.0
"""Locks are waited for all the time; only a wait that lasts is worth a word."""
SHOWN = 10

# Another role's sessions show nothing but their pid to one without pg_read_all_stats.
SNAPSHOTS = """
SELECT pid, coalesce(application_name, ''), coalesce(state, ''),
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
FROM pg_stat_activity
WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
  AND xact_start < clock_timestamp() - :seconds * interval '1 second'
ORDER BY xact_start LIMIT :shown
"""
WAITS = """
SELECT a.pid, coalesce(a.application_name, ''), coalesce(l.relation::regclass::text, l.locktype),
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS seconds, pg_blocking_pids(a.pid)
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE NOT l.granted AND a.datname = current_database()
  AND a.query_start < clock_timestamp() - :seconds * interval '1 second'
ORDER BY a.query_start LIMIT :shown
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session of PostgreSQL that has kept a snapshot, or waited for a lock, for long."""

    pid: int
    application: str
    what: str
    """Its state, or what it waits for."""
    seconds: float
    blockers: tuple[int, ...] = ()


async def server_version(connection: AsyncConnection) -> str:
    """Return what the database calls itself, such as ``PostgreSQL 15.4`` or ``SQLite 3.45.1``."""
    if connection.dialect.name == "sqlite":
        return f"SQLite {await connection.scalar(text('SELECT sqlite_version()'))}"
    return f"PostgreSQL {await connection.scalar(text('SHOW server_version'))}"


async def database_time(connection: AsyncConnection) -> datetime:
    """Return the database's clock."""
    now = await connection.scalar(select(db_now()))
    assert isinstance(now, datetime)
    return now


async def old_snapshots(connection: AsyncConnection, seconds: float = SNAPSHOT_SECONDS) -> list[Session]:
    """Return sessions of PostgreSQL whose snapshot is older: until they end, no dead row goes from any table."""
    rows = await connection.execute(text(SNAPSHOTS), {"seconds": seconds, "shown": SHOWN})
    return [Session(*row) for row in rows]


async def long_waits(connection: AsyncConnection, seconds: float = WAIT_SECONDS) -> list[Session]:
    """Return sessions of PostgreSQL that have waited longer for a lock which others hold."""
    rows = await connection.execute(text(WAITS), {"seconds": seconds, "shown": SHOWN})
    return [Session(pid, name, what, waited, tuple(pids)) for pid, name, what, waited, pids in rows]


async def is_pooled(connection: AsyncConnection) -> bool:
    """Tell whether a pooler stands between: what it says of the session's process is not what the process says."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    return bool(driver.info.backend_pid != await connection.scalar(text("SELECT pg_backend_pid()")))


async def dead_letters(connection: AsyncConnection) -> dict[str, int]:
    """Return how many dead letters each key has."""
    query = select(history.c.key, func.count()).where(history.c.state == "dead").group_by(history.c.key)
    rows: list[Any] = list(await connection.execute(query.order_by(history.c.key)))
    return dict(rows)


def wal_bytes(file: str) -> int:
    """Return the size of the write-ahead log beside a SQLite file."""
    try:
        return Path(f"{file}-wal").stat().st_size
    except OSError:
        return 0
