"""Hints that follow a commit of somebody else's transaction."""

from collections.abc import Callable

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection


def on_commit(connection: AsyncConnection, call: Callable[[], None]) -> None:
    """Call ``call`` in the event loop's thread when the transaction of ``connection`` begins to commit.

    That is a moment before the commit can be seen, and the commit may still fail: good for a hint, not for more.
    Nothing is called when the transaction is rolled back.
    """
    sync = connection.sync_connection
    assert sync is not None, "the connection is open while it is in use"
    call_soon = getattr(connection, "call_soon", None)  # of a connection that another thread uses

    @event.listens_for(sync, "commit", once=True)
    def committing(_: Connection) -> None:
        if call_soon is None:
            call()
        else:
            call_soon(call)
