"""A connection to PostgreSQL for the hot statements, past SQLAlchemy's result machinery."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from nocohost.api.errors import StoreError, StoreUnavailableError
from nocohost.store.translate import translated

# A plan is kept however the tables grow after it was made, so it must be the one for large tables: by their indexes.
PLANNING: LiteralString = """
SELECT set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false)
"""
STALE = frozenset({"0A000", "26000"})
"""PostgreSQL: the plan no longer gives what it gave, as after a migration; the prepared statement is gone."""


class DriverConnection:
    """One psycopg connection, kept open and used by one call at a time; after an error another is opened.

    Its statements are prepared, and planned once, where the session is its own; behind a pooler in transaction mode
    they are sent whole each time.
    """

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._engine = engine
        self._what = what
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._prepares = False

    async def fetch(self, sql: LiteralString, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute one statement, which is a transaction of its own, and return its rows. Raises ``StoreError``."""
        async with self._turn:
            try:
                return await self._fetch(sql, parameters)
            except StoreError as error:
                if not self._is_stale(error):
                    raise
                return await self._fetch(sql, parameters)  # nothing was executed, and a new session knows no plan

    async def _fetch(self, sql: LiteralString, parameters: Any) -> list[tuple[Any, ...]]:
        sent = whole = False
        try:
            with translated(self._what):
                if self._connection is None:
                    await self._open()
                sent = True
                rows = await self._execute(sql, parameters)
            whole = True
            return rows
        except StoreUnavailableError as error:
            error.unsure = sent and self._is_lost  # else the server has said itself that it did nothing
            raise
        finally:
            if not whole:
                await self._drop()

    async def _execute(self, sql: LiteralString, parameters: Any) -> list[tuple[Any, ...]]:
        dbapi = self._engine.dialect.loaded_dbapi
        try:
            cursor = await self._driver.execute(sql, parameters, binary=True)
            return await cursor.fetchall()  # type: ignore[no-any-return]
        except dbapi.Error as error:
            raise DBAPIError.instance(
                None, None, error, dbapi.Error, connection_invalidated=self._is_lost, dialect=self._engine.dialect
            ) from error

    @property
    def _is_lost(self) -> bool:
        return bool(self._driver.closed or self._driver.broken)

    async def close(self) -> None:
        """Close the connection, which nobody else may use: its planner is set for these statements."""
        async with self._turn:
            await self._drop()

    async def _open(self) -> None:
        self._connection = await self._engine.connect()
        await self._connection.execution_options(isolation_level="AUTOCOMMIT")
        self._driver = (await self._connection.get_raw_connection()).driver_connection
        self._prepares = False
        if await self._has_own_session():
            await self._execute(PLANNING, ())
            self._driver.prepare_threshold = 0
            self._prepares = True

    async def _has_own_session(self) -> bool:
        """Tell whether the server process that answers is the one that greeted: a pooler gives itself out for one."""
        ((backend,),) = await self._execute("SELECT pg_backend_pid()", ())
        return bool(backend == self._driver.info.backend_pid)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _is_stale(self, error: StoreError) -> bool:
        """Tell whether a prepared statement was refused before it did anything."""
        cause = error.__cause__
        return self._prepares and isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in STALE
