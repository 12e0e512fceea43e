"""A look at the database that costs one statement: no transaction around it, no write lock."""

from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.database import SqlDatabase


def glance(database: SqlDatabase) -> AbstractAsyncContextManager[AsyncConnection]:
    """Open a connection to read one statement by; what is read is true at that moment only."""
    return database.autocommit() if database.dialect == "postgresql" else database.connect()
