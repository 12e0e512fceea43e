"""Connections of a pool that are set up otherwise than the rest of it for a while, and never lost on the way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@asynccontextmanager
async def checked_out(engine: AsyncEngine, **options: Any) -> AsyncIterator[AsyncConnection]:
    """Open a connection with these execution options, of which the pool keeps nothing.

    Not by the options of an engine: SQLAlchemy sets those before anybody holds the connection, and a task that is
    cancelled meanwhile leaves it handed out for good.
    """
    async with engine.connect() as connection:
        is_set = False
        try:
            await connection.execution_options(**options)
            is_set = True
        finally:
            if not is_set:
                await connection.invalidate()  # nobody knows how the server's session stands
        yield connection
