"""One PostgreSQL connection that listens and notifies at the same time, driven by libpq's own calls.

The event loop watches its socket; no task waits, and nothing is asked while nothing happens.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CHANNEL = "nocohost"
NOTIFY = (
    # Local to the transaction, so that no pooler hands it on: a hint need not wait for the disk.
    b"SELECT set_config('synchronous_commit', 'off', true), pg_notify('nocohost', hint) FROM unnest($1::text[]) AS hint"
)
MOST_WAITING = 1000


class NotificationLine:
    """Sends and hears notifications until ``broken`` is raised; the connection belongs to it alone meanwhile.

    ``hear`` is called with the payload of each notification, ``refused`` with the reason of a server that would not
    notify.
    """

    def __init__(
        self, connection: "AsyncConnection[Any]", hear: Callable[[str], None], refused: Callable[[str], None]
    ) -> None:
        import psycopg  # optional, and only PostgreSQL needs it

        self._errors = psycopg.Error
        self._connection = connection
        self._server = connection.pgconn
        self._hear = hear
        self._refused = refused
        self._waiting: list[str] = []
        self._is_asking = False
        self._idle: asyncio.Future[None] | None = None
        self._has_refused = False
        self._loop = asyncio.get_running_loop()
        self._socket = self._server.socket
        self.broken: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._socket, self._read)
        self._loop.call_soon(self._read)  # what has come with the answer to LISTEN

    def notify(self, messages: Sequence[str]) -> None:
        """Send, now or right after what is being sent; each message is ASCII."""
        self._waiting += messages[: MOST_WAITING - len(self._waiting)]
        if not self._is_asking:
            self._ask()

    async def drained(self) -> None:
        """Wait until everything is sent, or the connection is broken."""
        while (self._is_asking or self._waiting) and not self.broken.done():
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle, self.broken], return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        """Give the connection back to its owner, who closes it."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self.broken.cancel()

    def _ask(self) -> None:
        messages, self._waiting = self._waiting, []
        if not messages or self.broken.done():
            return
        self._is_asking = True
        try:
            self._server.send_query_params(NOTIFY, [_array(messages)])
            self._flush()
        except self._errors as error:
            self._break(error)

    def _flush(self) -> None:
        if self._server.flush():
            self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        try:
            if not self._server.flush():
                self._loop.remove_writer(self._socket)
        except self._errors as error:
            self._break(error)

    def _read(self) -> None:
        if self.broken.done():
            return
        try:
            self._server.consume_input()
            while self._is_asking and not self._server.is_busy():
                result = self._server.get_result()
                if result is None:
                    self._is_asking = False
                else:
                    self._judge(result)
            while (notification := self._server.notifies()) is not None:
                self._hear(notification.extra.decode("utf-8", "replace"))
        except self._errors as error:
            self._break(error)
            return
        if not self._is_asking:
            self._ask()
        if not self._is_asking and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _judge(self, result: Any) -> None:
        reason = result.error_message.decode("utf-8", "replace").strip()
        if reason and not self._has_refused:
            self._refused(reason)
        self._has_refused = bool(reason)

    def _break(self, error: Exception) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        if not self.broken.done():
            self.broken.set_exception(error)


def _array(messages: Sequence[str]) -> bytes:
    """Return the messages as the text of a PostgreSQL array."""
    quoted = (message.replace("\\", "\\\\").replace('"', '\\"') for message in messages)
    return ("{" + ",".join(f'"{one}"' for one in quoted) + "}").encode("ascii")
