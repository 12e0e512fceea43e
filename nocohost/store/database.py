"""The database as everybody sees it: ``begin`` to write, ``connect`` to read."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.clock import Clock
from nocohost.api.errors import (
    ConfigError,
    NestedWriteError,
    StoreError,
    StoreUnavailableError,
    TransactionExpiredError,
)
from nocohost.api.log import Log
from nocohost.store.checkout import checked_out
from nocohost.store.commits import Commit
from nocohost.store.engine import (
    EXPIRED,
    EXPIRED_HINT,
    WRITES,
    database_url,
    driver_arguments,
    make_async_engine,
    make_sync_engine,
    shown,
)
from nocohost.store.hot.postgresql import PostgresqlHotStore
from nocohost.store.hot.sqlite import SqliteHotStore
from nocohost.store.hot.values import HotStore
from nocohost.store.required_version import require_version
from nocohost.store.translate import translated
from nocohost.store.writer import TURN_SECONDS, WriterTurn, place_of_caller

FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 3.0
TELL_SECONDS = 10.0
"""How often it is told that the database is still away."""


class SqlDatabase:
    """One database, SQLite or PostgreSQL, behind one set of promises; see ``nocohost.api.app.Database``.

    Nothing is connected before the first use. ``open_database`` makes one.
    """

    def __init__(self, url: str, *, clock: Clock, log: Log, synchronous: str = "full", pool_size: int = 10) -> None:
        self._url = database_url(url)
        self._clock = clock
        self._log = log
        self._synchronous = synchronous
        self._pool_size = pool_size
        self._engine = make_async_engine(self._url, clock=clock, synchronous=synchronous, pool_size=pool_size)
        if self.dialect == "sqlite":
            self._writing = self._engine.execution_options(**{WRITES: True})
            self._reading = make_async_engine(
                self._url, clock=clock, synchronous=synchronous, pool_size=pool_size, read_only=True
            )
        else:
            self._writing = self._engine
            self._reading = self._engine
        self._turn = WriterTurn()
        self.hot: HotStore = (
            SqliteHotStore(self.open_sync, self._turn, self.shown)
            if self.dialect == "sqlite"
            else PostgresqlHotStore(self._engine, self.shown)
        )
        """The statements that every job costs."""

    @property
    def dialect(self) -> str:
        """Return ``sqlite`` or ``postgresql``."""
        return self._url.get_backend_name()

    @property
    def shown(self) -> str:
        """Return the URL without its password."""
        return shown(self._url)

    @property
    def file(self) -> str | None:
        """Return the path of the SQLite file, None on PostgreSQL."""
        return self._url.database if self.dialect == "sqlite" else None

    @property
    def driver_arguments(self) -> dict[str, Any]:
        """Return what psycopg itself is told to connect to this PostgreSQL database."""
        return driver_arguments(self._url)

    @property
    def in_write_transaction(self) -> bool:
        """Tell whether the running task is inside a ``begin`` of a SQLite database, whose turn it would wait for."""
        return self._turn.is_mine

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a write transaction; see ``nocohost.api.app.Database.begin``."""
        if self.dialect == "sqlite":
            return self._begin_in_turn(place_of_caller())
        return self._begin()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reading; see ``nocohost.api.app.Database.connect``."""
        options = {"postgresql_readonly": True} if self.dialect == "postgresql" else {}
        with translated(self.shown, reading=True):
            async with checked_out(self._reading, **options) as connection:
                yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for single statements: on PostgreSQL each commits by itself, on SQLite all at the end."""
        if self.dialect == "sqlite":
            async with self.begin() as connection:
                yield connection
            return
        with translated(self.shown):
            async with checked_out(self._engine, isolation_level="AUTOCOMMIT") as connection:
                yield connection

    def open_sync(self, *, limited: bool = True) -> Engine:
        """Return a synchronous engine on the same database, for a thread of its own; the caller disposes of it.

        Only migrations may take longer than the limits of PostgreSQL statements and transactions.
        """
        engine = make_sync_engine(self._url, clock=self._clock, synchronous=self._synchronous, limited=limited)
        return engine.execution_options(**{WRITES: True})

    def open_pooled(self, *, read_only: bool) -> Engine:
        """Return a synchronous engine that keeps its connections, for threads; the caller disposes of it."""
        engine = make_sync_engine(
            self._url, clock=self._clock, synchronous=self._synchronous, pool_size=self._pool_size, read_only=read_only
        )
        return (
            engine.execution_options(postgresql_readonly=True)
            if read_only
            else engine.execution_options(**{WRITES: True})
        )

    async def take_turn(self, place: str, owner: str) -> "TurnWatch":
        """Wait for the turn to write to SQLite; return the watch over it, whose ``stop`` gives the turn back."""
        await self._turn.take()
        return TurnWatch(self._turn, self._log, place, owner)

    async def ping(self) -> None:
        """Ask the database the cheapest question; raises ``StoreError`` when it does not answer."""
        async with self.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def wait(self, seconds: float) -> None:
        """Wait until the database answers; raises ``StoreUnavailableError`` after ``seconds``.

        A refusal that waiting cannot mend, such as a wrong password, is raised at once as ``ConfigError``, and so is a
        database that is too old.
        """
        deadline = self._clock.monotonic() + seconds
        tell_at = self._clock.monotonic()
        pause = FIRST_WAIT_SECONDS
        while True:
            try:
                async with self.connect() as connection:
                    return await require_version(connection, self.shown)
            except StoreUnavailableError as error:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    raise StoreUnavailableError(
                        f"{error.message}; gave up after {seconds:g} s", hint="is it running, and reachable from here?"
                    ) from error
                if self._clock.monotonic() >= tell_at:
                    self._log.warning("database.away", reason=error.message, seconds_left=round(left, 1))
                    tell_at = self._clock.monotonic() + TELL_SECONDS
                await self._clock.sleep(min(pause, left))
                pause = min(pause * 2, LONGEST_WAIT_SECONDS)

    async def close(self) -> None:
        """Close every connection."""
        await self.hot.close()
        await self._engine.dispose()
        if self.dialect == "sqlite":
            await self._reading.dispose()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        commit = Commit()
        with commit.followed(), translated(self.shown):
            async with self._engine.begin() as connection:
                commit.of(connection)
                yield connection

    @asynccontextmanager
    async def _begin_in_turn(self, place: str) -> AsyncIterator[AsyncConnection]:
        if self._turn.is_mine:
            raise NestedWriteError(
                f"{place}: this task is already inside database.begin()", hint="pass its connection along instead"
            )
        task = asyncio.current_task()
        watch = await self.take_turn(place, task.get_name() if task is not None else "")
        commit = Commit()
        try:
            with commit.followed(), translated(self.shown):
                # Nested blocks, so that a commit or rollback of the owner's own is answered as on PostgreSQL: whatever
                # it executes after that raises, instead of being lost without a word.
                async with self._writing.connect() as connection, connection.begin():
                    commit.of(connection)
                    await watch.start(connection)
                    try:
                        yield connection
                    finally:
                        if watch.ended():
                            await connection.invalidate()
                    if watch.expired:
                        raise watch.error()
        except StoreError as error:
            if watch.expired and not isinstance(error, TransactionExpiredError):
                raise watch.error() from error
            raise
        finally:
            await watch.stop()


class TurnWatch:
    """Rolls a write transaction back when it is older than ``TURN_SECONDS``, names it, and passes the turn on."""

    def __init__(self, turn: WriterTurn, log: Log, place: str, owner: str) -> None:
        self._turn = turn
        self._log = log
        self._place = place
        self._owner = owner
        self._sentence = f"the write transaction begun at {place} was open for {TURN_SECONDS:g} s and was rolled back"
        self._timer: asyncio.TimerHandle | None = None
        self._rollback: asyncio.Task[None] | None = None
        self._info: dict[Any, Any] = {}
        self._driver: Any = None

    def error(self) -> TransactionExpiredError:
        """Return what the owner of the expired transaction is told."""
        return TransactionExpiredError(self._sentence, hint=EXPIRED_HINT)

    @property
    def expired(self) -> bool:
        """Tell whether the transaction has been rolled back."""
        return self._rollback is not None

    async def start(self, connection: AsyncConnection) -> None:
        """Begin to count."""
        raw = await connection.get_raw_connection()
        self.begin(raw.driver_connection, raw.info)

    def begin(self, driver: Any, info: dict[Any, Any]) -> None:
        """Begin to count; ``driver`` is an aiosqlite connection or like one, ``info`` is kept with it."""
        self._driver, self._info = driver, info
        self._timer = asyncio.get_running_loop().call_later(TURN_SECONDS, self._expire)

    def ended(self) -> bool:
        """Stop counting: the owner is about to commit. Return whether it is too late for that."""
        if self._timer is not None:
            self._timer.cancel()
            # The timer itself is late when the owner has blocked the event loop.
            if not self.expired and asyncio.get_running_loop().time() >= self._timer.when():
                self._expire()
        return self.expired

    async def stop(self) -> None:
        """Stop counting; give the turn back unless the watch has done so."""
        if self._timer is not None:
            self._timer.cancel()
        if self._rollback is None:
            self._turn.give_back()
        else:
            await asyncio.shield(self._rollback)

    def _expire(self) -> None:
        self._log.error("transaction.expired", place=self._place, task=self._owner, seconds=TURN_SECONDS)
        # From here on the owner's statements and commit are refused; what is under way ends before the roll back.
        self._info[EXPIRED] = self._sentence
        self._rollback = asyncio.create_task(self._roll_back(), name="roll back expired transaction")

    async def _roll_back(self) -> None:
        import sqlite3  # see _prepare_sqlite

        try:
            with suppress(ValueError, sqlite3.Error):  # closed by its owner already, which rolls back too
                await self._driver.interrupt()  # one long statement must not keep the turn
                # A statement already on its way to the driver's thread would begin and commit by itself.
                await self._driver.execute("PRAGMA query_only=ON")
                await self._driver.rollback()
        finally:
            self._turn.give_back()


def open_database(url: str, *, clock: Clock, log: Log, synchronous: str = "full", pool_size: int = 10) -> SqlDatabase:
    """Return the database at ``url``; nothing is connected yet, but the folder of a SQLite file is made.

    Raises ``ConfigError`` for a URL that cannot be, for a folder that cannot be made, and for a file or a folder that
    this user may not write.
    """
    database = SqlDatabase(url, clock=clock, log=log, synchronous=synchronous, pool_size=pool_size)
    if database.file is not None:
        folder = Path(database.file).absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the folder {folder} of the database cannot be made: {error.strerror} (as user {os.getuid()})",
                hint="set NOCOHOST_DATA_DIR to a folder that this user may write",
            ) from error
        _refuse_unwritable(Path(database.file).absolute())
    return database


def _refuse_unwritable(file: Path) -> None:
    """Raise ``ConfigError`` for a SQLite file that waiting will not make writable; SQLite writes beside it too."""
    if file.is_dir():
        raise ConfigError(f"the database {file} is a folder", hint="name a file, sqlite:////folder/name.sqlite")
    for place in (file.parent, file):
        if place.exists() and not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
            raise ConfigError(
                f"the database {file} cannot be written: user {os.getuid()} may not write {place}",
                hint="check who owns it, or set NOCOHOST_DATA_DIR to a folder that this user may write",
            )
