"""What time has made superfluous: found, counted and removed in small batches, so that others get their turn."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.database import SqlDatabase
from nocohost.store.nodes import GONE_STATES, remove_gone
from nocohost.store.orphans import remove_expired_keys, remove_old_history
from nocohost.store.schema import history, idempotency, nodes, ticks
from nocohost.store.ticks import remove_old_ticks
from nocohost.store.types import db_after, db_now

BATCH = 500
TICK_SECONDS = 86400.0
"""How long a tick is remembered at least: what fired may not fire again."""
GONE_NODE_SECONDS = 7 * 86400.0
"""How long the row of a node outlives the node."""


class Superfluous(NamedTuple):
    """How much there is, or was, past its time."""

    history: int
    """Jobs that are over, dead letters excepted."""
    idempotency_keys: int
    ticks: int
    nodes: int


async def purge(database: SqlDatabase, *, history_seconds: float) -> Superfluous:
    """Remove all that is past its time, and say how much; each batch is a transaction of its own.

    Jobs stay for ``history_seconds`` after their end, and dead letters until a person decides.
    """
    tick_seconds = max(TICK_SECONDS, history_seconds)
    keys = await _all_of(database, lambda connection: remove_expired_keys(connection, BATCH))
    jobs = await _all_of(
        database, lambda connection: remove_old_history(connection, older_than_seconds=history_seconds, limit=BATCH)
    )
    fired = await _all_of(
        database, lambda connection: remove_old_ticks(connection, older_than_seconds=tick_seconds, limit=BATCH)
    )
    async with database.begin() as connection:
        gone = await remove_gone(connection, older_than_seconds=GONE_NODE_SECONDS)
    return Superfluous(jobs, keys, fired, gone)


async def count_superfluous(database: SqlDatabase, *, history_seconds: float) -> Superfluous:
    """Count what ``purge`` would remove, and remove nothing; nodes that still hold jobs count too."""
    past = {
        seconds: select(db_after(-seconds)).scalar_subquery()
        for seconds in (history_seconds, max(TICK_SECONDS, history_seconds), GONE_NODE_SECONDS)
    }
    old = history.c.finished_at <= past[history_seconds]
    fired = ticks.c.fired_at <= past[max(TICK_SECONDS, history_seconds)]
    gone = nodes.c.state.in_(GONE_STATES) & (nodes.c.lease_until <= past[GONE_NODE_SECONDS])
    queries = (
        select(func.count()).select_from(history).where(old, history.c.state != literal_column("'dead'")),
        select(func.count()).select_from(idempotency).where(idempotency.c.expires_at <= db_now()),
        select(func.count()).select_from(ticks).where(fired),
        select(func.count()).select_from(nodes).where(gone),
    )
    async with database.connect() as connection:
        return Superfluous(*[int(await connection.scalar(query) or 0) for query in queries])


async def _all_of(database: SqlDatabase, remove: Callable[[AsyncConnection], Awaitable[int]]) -> int:
    total, removed = 0, BATCH
    while removed >= BATCH:
        async with database.begin() as connection:
            removed = await remove(connection)
        total += removed
    return total
