"""The database for code that blocks: SQLAlchemy's plain connections in a thread, under the promises of the loop's.

A thread has connections of its own, opened by the same rules. On SQLite it takes the process's turn to write like every
task of the event loop, and loses it when it keeps it too long.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from nocohost.api.errors import NestedWriteError, StoreError, TransactionExpiredError
from nocohost.store.commits import Commit
from nocohost.store.database import SqlDatabase
from nocohost.store.translate import translated
from nocohost.store.writer import place_of_caller

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


class BlockingDatabase:
    """``database`` for threads other than that of ``loop``, which must turn meanwhile; any number may use it."""

    def __init__(self, database: SqlDatabase, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._loop = loop
        self._opening = threading.Lock()
        self._engines: dict[bool, Engine] = {}
        self._writing = threading.local()

    @property
    def in_write_transaction(self) -> bool:
        """Tell whether the running thread is inside a ``begin`` of a SQLite database, whose turn it would wait for."""
        return getattr(self._writing, "is_mine", False)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a write transaction; see ``nocohost.api.app.Database.begin``."""
        if self._database.dialect == "sqlite":
            with self._begin_in_turn(place_of_caller()) as connection:
                yield connection
            return
        commit = Commit()
        with commit.followed(), translated(self._database.shown), self._engine(reads=False).begin() as connection:
            commit.of(connection)
            yield connection

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection for reading; see ``nocohost.api.app.Database.connect``."""
        with translated(self._database.shown, reading=True), self._engine(reads=True).connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        with self._opening:
            while self._engines:
                self._engines.popitem()[1].dispose()

    def _engine(self, *, reads: bool) -> Engine:
        with self._opening:
            if reads not in self._engines:
                self._engines[reads] = self._database.open_pooled(read_only=reads)
            return self._engines[reads]

    @contextmanager
    def _begin_in_turn(self, place: str) -> Iterator[Connection]:
        if self.in_write_transaction:
            raise NestedWriteError(
                f"{place}: this thread is already inside database.begin()", hint="pass its connection along instead"
            )
        watch = self._wait(self._database.take_turn(place, threading.current_thread().name))
        self._writing.is_mine = True
        commit = Commit()
        try:
            # As on the event loop: a commit of the owner's own is answered by errors from then on.
            engine = self._engine(reads=False)
            with (
                commit.followed(),
                translated(self._database.shown),
                engine.connect() as connection,
                connection.begin(),
            ):
                commit.of(connection)
                raw = connection.connection
                self._wait(_call(lambda: watch.begin(_Interruptible(raw.driver_connection), raw.info)))
                try:
                    yield connection
                finally:
                    if self._wait(_call(watch.ended)):
                        connection.invalidate()
                if watch.expired:
                    raise watch.error()
        except StoreError as error:
            if watch.expired and not isinstance(error, TransactionExpiredError):
                raise watch.error() from error
            raise
        finally:
            self._writing.is_mine = False
            self._wait(watch.stop())

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for what the event loop does. Not broken off by a cancel, or a turn could be taken and never used."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class _Interruptible:
    """A plain SQLite connection with the few methods by which the event loop rolls its transaction back."""

    def __init__(self, driver: Any) -> None:
        self._driver: sqlite3.Connection = driver

    async def interrupt(self) -> None:
        self._driver.interrupt()

    async def execute(self, statement: str) -> None:
        await asyncio.to_thread(self._driver.execute, statement)

    async def rollback(self) -> None:
        await asyncio.to_thread(self._driver.rollback)


class _Joined:
    """A plain connection behind the face of SQLAlchemy's asynchronous one, for functions written for that.

    Nothing waits in here, so such a function can be driven to its end by ``through``.
    """

    def __init__(self, connection: Connection, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.sync_connection = connection
        self.dialect = connection.dialect
        self.call_soon = call_soon
        """How a hint after the commit reaches the thread of the event loop."""

    async def execute(self, *arguments: Any, **named: Any) -> Any:
        return self.sync_connection.execute(*arguments, **named)

    async def scalar(self, *arguments: Any, **named: Any) -> Any:
        return self.sync_connection.scalar(*arguments, **named)

    async def scalars(self, *arguments: Any, **named: Any) -> Any:
        return self.sync_connection.scalars(*arguments, **named)

    async def exec_driver_sql(self, *arguments: Any, **named: Any) -> Any:
        return self.sync_connection.exec_driver_sql(*arguments, **named)

    async def run_sync(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        return call(self.sync_connection, *arguments, **named)


def through(
    connection: Connection,
    call: "Callable[[AsyncConnection], Coroutine[Any, Any, T]]",
    *,
    call_soon: Callable[[Callable[[], None]], object],
) -> T:
    """Carry out, here and now in this thread, what ``call`` does to an asynchronous connection by ``connection``.

    It must wait for nothing but that connection. ``call_soon`` is the event loop's ``call_soon_threadsafe``.
    """
    if not isinstance(connection, Connection):
        raise TypeError(f"connection is a {type(connection).__name__}; give what job.transaction() or begin() gave")
    coroutine = call(cast("AsyncConnection", _Joined(connection, call_soon)))
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for more than its connection")


async def _call(call: Callable[[], T]) -> T:
    return call()
