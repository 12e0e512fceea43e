"""A write transaction of several statements whose locks outlast its process, should that freeze, by a moment only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.database import SqlDatabase


@asynccontextmanager
async def brief(database: SqlDatabase, idle_milliseconds: int) -> AsyncIterator[AsyncConnection]:
    """Open a write transaction, for statements that follow each other at once.

    PostgreSQL ends the session of a process that keeps it waiting between two of them for so long, and with it the
    locks that others pass over meanwhile: ``TransactionExpiredError``. On SQLite nothing can take the lock from a
    frozen process.
    """
    async with database.begin() as connection:
        if database.dialect == "postgresql":
            limit = func.set_config("idle_in_transaction_session_timeout", str(idle_milliseconds), True)
            await connection.execute(select(limit))
        yield connection
