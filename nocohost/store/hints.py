"""Hints between nodes: short messages that only wake, never data. Polling is the guarantee; see decision 12.

On PostgreSQL they are notifications, on SQLite lines of a file beside the database.
"""

from collections.abc import Callable
from typing import Protocol

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.store.database import SqlDatabase
from nocohost.store.hints_postgresql import NotificationHints
from nocohost.store.hints_sqlite import FileHints
from nocohost.store.subscribers import Heard

JOB = "job"
"""Topic: there may be work under the service key that the text names."""
LOCK = "lock"
"""Topic: the lock that the text names is free."""
SIGNAL = "signal"
"""Topic: the text is a signal of a plugin."""
SCHEDULE = "schedule"
"""Topic: the next tick of the schedule that the text names may have moved."""


class Hints(Protocol):
    """Carries hints to the other nodes on this database; any of them may be lost, come twice, or come late."""

    async def start(self) -> None:
        """Begin to listen, and go on for ever; returns at once, whether the database answers or not."""

    async def stop(self) -> None:
        """Stop listening; what was sent may still be on its way."""

    def send(self, topic: str, text: str) -> None:
        """Tell the other nodes; from the event loop's thread, returns at once and never raises.

        Of equal hints the first goes at once, and those of the next 2 ms together at their end. Send after a commit.
        """

    def subscribe(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Call ``heard(text)`` in the event loop for each hint of another node; return what ends that.

        ``heard(None)`` says that hints may have been missed: look at everything.
        """


def make_hints(database: SqlDatabase, *, clock: Clock, log: Log) -> Hints:
    """Return the hints of ``database``; nothing is opened before ``start``, or on SQLite the first ``send``."""
    if database.file is not None:
        return FileHints(f"{database.file}-hints", log=log)
    return NotificationHints(database, clock=clock, log=log)
