"""The first admin token: nobody listens beyond loopback without one, and a terminal is shown one."""

from nocohost.api.errors import ConfigError, StoreConflictError
from nocohost.store.database import SqlDatabase
from nocohost.store.tokens import any_admin, create_token

NAME = "admin"


async def require_admin(database: SqlDatabase, host: str) -> None:
    """Raise ``ConfigError`` when no admin token exists; ``host`` is what the node was about to bind."""
    async with database.connect() as connection:
        if not await any_admin(connection):
            raise ConfigError(
                f"binding {host} is refused while no admin token exists",
                code="http.no_admin",
                hint="set NOCOHOST_ADMIN_TOKEN (or _FILE), or run: nocohost token create admin --scope admin",
            )


async def create_first_admin(database: SqlDatabase) -> str | None:
    """Make the first admin token unless there is one; return its text. Of many nodes at once, one wins."""
    try:
        async with database.begin() as connection:
            if await any_admin(connection):
                return None
            return (await create_token(connection, NAME, ["admin"], None)).token
    except StoreConflictError:
        return None
