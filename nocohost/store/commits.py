"""What follows the commit of a transaction, whoever opened it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection

AFTER_COMMIT = "nocohost_after_commit"
"""Where a connection keeps what is to be called, while its transaction goes on."""


def on_commit(connection: AsyncConnection, call: Callable[[], None]) -> None:
    """Call ``call`` in the event loop's thread once the transaction of ``connection`` has been committed.

    Nothing is called when it is rolled back, or when the answer to the commit is lost: good for a hint, not for more.
    On a connection that ``begin`` has not opened, the call comes as the commit begins.
    """
    sync = connection.sync_connection
    assert sync is not None, "the connection is open while it is in use"
    calls = sync.info.get(AFTER_COMMIT)
    call_soon = getattr(connection, "call_soon", None)  # of a plain connection, which another thread uses

    def follow() -> None:
        if call_soon is None:
            call()
        else:
            call_soon(call)

    @event.listens_for(sync, "commit", once=True)
    def committing(_: Any) -> None:
        if calls is None:
            follow()
        else:
            calls.append(follow)


class Commit:
    """Gathers what is to follow the commit of one transaction."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._info: dict[Any, Any] = {}

    def of(self, connection: AsyncConnection | Connection) -> None:
        """Say on which connection the transaction is."""
        sync = connection if isinstance(connection, Connection) else connection.sync_connection
        assert sync is not None, "the connection has just been opened"
        self._info = sync.info
        self._info[AFTER_COMMIT] = self._calls

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Call what was gathered after the block, unless it raises."""
        try:
            yield
        finally:
            self._info.pop(AFTER_COMMIT, None)
        for call in self._calls:
            call()
