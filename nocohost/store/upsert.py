"""The INSERT that knows what to do when a row is there already: a statement of each database, alike on both."""

from importlib import import_module
from typing import TYPE_CHECKING

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert


def insert_into(connection: AsyncConnection, table: Table) -> "Insert":
    """Return the INSERT of the connection's database; SQLite's has the same ``on_conflict`` methods as PostgreSQL's.

    Only the dialect that is in use is imported: the other is memory that a node has no use for.
    """
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    inserting: Insert = dialect.insert(table)
    return inserting
