"""A write transaction of several statements whose locks outlast its process, should that freeze, by a moment only."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.app import Database
from nocohost.api.errors import TransactionExpiredError

IDLE_MILLISECONDS = (1000, 4000, 16_000)
"""How long a write may keep the database waiting, try by try: a frozen node lets go soon, a slow one gets there."""
T = TypeVar("T")


async def write_briefly(
    database: Database,
    work: Callable[[AsyncConnection], Awaitable[T]],
    idle_milliseconds: Sequence[int] = IDLE_MILLISECONDS,
) -> T:
    """Do ``work``, statements that follow each other at once, in a write transaction; return what it returns.

    PostgreSQL ends the session of a process that keeps it waiting between two of them for so long, and with it the
    locks that others wait for or pass over meanwhile. A process that was only slow does all of it anew under the next
    limit, so ``work`` may be called more than once; ``TransactionExpiredError`` when the last limit was too short as
    well. On SQLite nothing can take the lock from a frozen process.
    """
    *short, longest = idle_milliseconds
    for limit in short:
        with suppress(TransactionExpiredError):
            async with _brief(database, limit) as connection:
                return await work(connection)
    async with _brief(database, longest) as connection:
        return await work(connection)


@asynccontextmanager
async def _brief(database: Database, idle_milliseconds: int) -> AsyncIterator[AsyncConnection]:
    async with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            limit = func.set_config("idle_in_transaction_session_timeout", str(idle_milliseconds), True)
            await connection.execute(select(limit))
        yield connection
