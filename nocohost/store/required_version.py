"""The oldest databases whose SQL is what nocohost writes."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import ConfigError

OLDEST_POSTGRESQL = 13
"""The oldest that nocohost means to run on; its tests use the newest."""
OLDEST_SQLITE = (3, 35)
"""The first that knows RETURNING."""


async def require_version(connection: AsyncConnection, shown: str) -> None:
    """Raise ``ConfigError`` for a database that is too old; ``shown`` names it."""
    if connection.dialect.name == "postgresql":
        major = int(await connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
        is_old, found = major < OLDEST_POSTGRESQL, f"PostgreSQL {major}"
        hint = f"use PostgreSQL {OLDEST_POSTGRESQL} or later"
    else:
        version = str(await connection.scalar(text("SELECT sqlite_version()")))
        is_old = tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SQLITE
        found, hint = (
            f"SQLite {version}",
            f"use a Python built with SQLite {'.'.join(map(str, OLDEST_SQLITE))} or later",
        )
    if is_old:
        raise ConfigError(f"the database {shown} is {found}, which is too old", hint=hint)
