"""Hints over PostgreSQL's LISTEN and NOTIFY, on one connection of their own."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import random
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from nocohost.api.clock import Clock
from nocohost.api.errors import NocohostError
from nocohost.api.log import Log
from nocohost.store.database import SqlDatabase
from nocohost.store.notification_line import CHANNEL, NotificationLine
from nocohost.store.subscribers import MOST_WAITING, Heard, Outbox, Subscribers

if TYPE_CHECKING:
    from psycopg import AsyncConnection

APPLICATION = "nocohost hints"
"""By this name operators find the connection in ``pg_stat_activity``."""
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
STOP_SECONDS = 1.0
PROBE_SECONDS = 5.0
"""How long the node's own probe may take; the connection of one that never comes cannot hear."""


class NotificationHints:
    """The ``Hints`` of a PostgreSQL database; see ``nocohost.store.hints.Hints``.

    The connection is opened again for ever. Behind a pooler in transaction mode nothing is heard: a notification sent
    by way of another connection shows it. The node says so once, and polls.
    """

    def __init__(self, database: SqlDatabase, *, clock: Clock, log: Log) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._subscribers = Subscribers()
        self._outbox = Outbox(self._write)
        self._line: NotificationLine | None = None
        self._task: asyncio.Task[None] | None = None
        self._early: dict[tuple[str, str], None] = {}
        self._failures = 0
        self._tried = asyncio.Event()
        self._probe = ""
        self._deaf_timer: asyncio.TimerHandle | None = None
        self._is_deaf = False

    @property
    def is_listening(self) -> bool:
        """Tell whether a notification has been seen to arrive on the present connection."""
        return self._line is not None and not self._probe

    async def start(self) -> None:
        """Begin to listen."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="hints")

    async def stop(self) -> None:
        """Send what still waits, as far as a second is enough, and close the connection."""
        self._outbox.close()
        task, self._task = self._task, None
        if task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._sent()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._early.clear()

    def send(self, topic: str, text: str) -> None:
        """Tell the other nodes, now or as soon as there is a connection."""
        if self._task is not None:
            self._outbox.put(topic, text)

    def subscribe(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Call ``heard`` for each hint of another node."""
        return self._subscribers.add(topic, heard)

    async def _run(self) -> None:
        import psycopg  # optional, and only PostgreSQL needs it

        arguments = {**self._database.driver_arguments, "application_name": APPLICATION, "autocommit": True}
        while True:
            try:
                await self._listen(await psycopg.AsyncConnection.connect(**arguments))
            except (psycopg.Error, OSError) as error:
                self._away(error)
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE_SECONDS)
            await self._clock.sleep(pause * (0.75 + 0.5 * random()))  # noqa: S311 - spreads the nodes, no secret

    async def _listen(self, connection: "AsyncConnection[Any]") -> None:
        """Listen until the connection breaks, which is raised."""
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._line = NotificationLine(connection, self._hear, self._refused)
            self._write(tuple(self._early))
            self._tried.set()
            self._subscribers.catch_up()
            await self._prove()
            await self._line.broken
        finally:
            if self._line is not None:
                self._line.close()
                self._line = None
            self._cancel_timer()
            await connection.close()

    async def _prove(self) -> None:
        """Send a probe by way of another connection: only one that keeps its session can hear it."""
        self._probe = f"probe {secrets.token_hex(8)}"
        self._deaf_timer = asyncio.get_running_loop().call_later(PROBE_SECONDS, self._deaf)
        try:
            async with self._database.autocommit() as other:
                await other.execute(
                    text("SELECT pg_notify(:channel, :probe)"), {"channel": CHANNEL, "probe": self._probe}
                )
        except NocohostError:  # nothing is proved, and nothing is wrong with the connection that listens
            self._probe = ""
            self._cancel_timer()

    def _proved(self) -> None:
        self._probe = ""
        self._cancel_timer()
        self._is_deaf = False
        self._settled()

    def _settled(self) -> None:
        if self._failures:
            self._log.info("hints.back", failures=self._failures)
            self._failures = 0

    def _hear(self, message: str) -> None:
        if message == self._probe:
            self._proved()
        else:
            self._subscribers.deliver(message)

    def _write(self, hints: Sequence[tuple[str, str]]) -> None:
        if self._line is None:
            self._early |= dict.fromkeys(hints[: MOST_WAITING - len(self._early)])
            return
        self._early.clear()
        self._line.notify([self._subscribers.encode(topic, text) for topic, text in hints])

    async def _sent(self) -> None:
        """Wait until nothing is left to send; a database that is away keeps nobody."""
        if self._early:
            await self._tried.wait()
        if self._line is not None:
            await self._line.drained()

    def _refused(self, reason: str) -> None:
        self._log.warning("hints.refused", reason=reason)

    def _deaf(self) -> None:
        self._settled()
        if not self._is_deaf:
            self._is_deaf = True
            self._log.warning(
                "hints.deaf",
                database=self._database.shown,
                hint="a pooler in transaction mode carries no notifications, so nodes only poll; connect without it",
            )

    def _away(self, error: Exception) -> None:
        self._failures += 1
        self._tried.set()
        if self._failures == 1:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._log.warning("hints.away", database=self._database.shown, reason=lines[0])

    def _cancel_timer(self) -> None:
        if self._deaf_timer is not None:
            self._deaf_timer.cancel()
            self._deaf_timer = None
