"""Connections with deadlines. aiohttp bounds idle keep-alive only; whoever sends slowly could hold a socket for ever.

One scan looks at every connection a few times per deadline, so that a request pays no more than a flag per read.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import StreamReader

from nocohost.api.log import Log
from nocohost.web.headers import protect
from nocohost.web.problems import RequestRefusedError, problem

SCANS_PER_DEADLINE = 8
LONGEST_SCAN_SECONDS = 1.0
SHORTEST_SCAN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a connection may take for each part of a request.

    The headers of a first request count from the connect, later ones from their first byte. A body may take
    ``body_seconds``, and one second more for each ``body_floor`` bytes that arrive: slow is fine, stalled is not. A
    response of which the client takes nothing for ``body_seconds`` is given up.
    """

    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    body_floor: float = 1000.0

    @property
    def scan_seconds(self) -> float:
        """Return how often connections are looked at; a deadline is kept to within two scans."""
        shortest = min(self.header_seconds, self.body_seconds, self.idle_seconds)
        return min(max(shortest / SCANS_PER_DEADLINE, SHORTEST_SCAN_SECONDS), LONGEST_SCAN_SECONDS)


class ConnectionWatch:
    """Every open connection of one server: admits them, scans them, and counts those that answer something."""

    def __init__(self, deadlines: Deadlines, per_address: int, log: Log) -> None:
        self.deadlines = deadlines
        self.closing = False
        """Set once the server is about to stop: each response from then on closes its connection."""
        self._stopping = False
        self._per_address = per_address
        self._log = log
        self._open: set[WatchedConnection] = set()
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._answered: asyncio.Event | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Scan from now on, until ``stop``."""
        self._timer = loop.call_later(self.deadlines.scan_seconds, self._scan, loop)

    def stop(self) -> None:
        """Scan no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def admit(self, connection: "WatchedConnection", address: str) -> bool:
        """Tell whether one more connection of ``address`` is taken, and remember it."""
        if self._counts[address] >= self._per_address:
            self._log.warning("http.too_many_connections", address=address, connections=self._counts[address])
            return False
        self._counts[address] += 1
        self._open.add(connection)
        return True

    def leave(self, connection: "WatchedConnection", address: str) -> None:
        """Forget a connection that is closed."""
        if connection in self._open:
            self._open.remove(connection)
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
        if self._answered is not None and not self.answering:
            self._answered.set()

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._open)

    @property
    def answering(self) -> int:
        """Return how many of them have a request whose response is not sent yet."""
        return sum(connection.is_answering for connection in self._open)

    async def finish(self, seconds: float) -> None:
        """Close what is idle, and wait until no connection owes a response, at most ``seconds``."""
        # Not aiohttp's ``close`` for those that owe one: it drops what they still receive, half a body for one.
        self.closing = self._stopping = True
        for connection in list(self._open):
            connection.close_if_idle()
        self._answered = asyncio.Event()
        if self.answering:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._answered.wait()

    def _scan(self, loop: asyncio.AbstractEventLoop) -> None:
        self.start(loop)
        now = loop.time()
        for connection in list(self._open):
            connection.hold_to_deadlines(now)
            if self._stopping:
                connection.close_if_idle()


class WatchedConnection(web.RequestHandler):
    """aiohttp's connection, held to deadlines, and whose own errors are problems too."""

    __slots__ = (
        "_address",
        "_body",
        "_body_since",
        "_header_since",
        "_idle_since",
        "_scanned_at",
        "_seen_requests",
        "_stirred",
        "_stuck_since",
        "_unsent",
        "_watch",
        "_wire",
    )

    def __init__(self, watch: ConnectionWatch, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._watch = watch
        self._wire: asyncio.Transport | None = None
        self._address = ""
        self._seen_requests = 0
        self._stirred = False
        self._scanned_at = self._idle_since = self._loop.time()
        self._header_since: float | None = None
        self._body: StreamReader | None = None
        self._body_since = 0.0
        self._stuck_since: float | None = None
        self._unsent = 0

    @property
    def is_last_response(self) -> bool:
        """Tell whether the server is about to stop, so that the response under way is the connection's last."""
        return self._watch.closing

    @property
    def is_answering(self) -> bool:
        """Tell whether a request waits for its response here."""
        return self._request_in_progress or bool(self._messages)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or drop it when its address has too many."""
        wire = cast("asyncio.Transport", transport)  # in its ways, not by its class: uvloop has its own
        self._address = address_group(wire.get_extra_info("peername"))
        if not self._watch.admit(self, self._address):
            wire.abort()
            return
        self._wire = wire
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._watch.leave(self, self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser; the scan only needs to know that some came."""
        self._stirred = True
        web.RequestHandler.data_received(self, data)  # for each read: super() costs as much again

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and whatever fails outside every route."""
        if isinstance(exc, ConnectionResetError):
            raise exc  # clients may leave when they like: that is no fault of ours, and they could fill the log with it
        if request.writer.output_size > 0:
            raise ConnectionResetError("the response has begun already")
        if status != 400:
            self.log_exception("a request failed outside its route", exc_info=exc)
            answer = problem(500, "http.internal", "The request failed inside.")
        elif isinstance(exc, LineTooLong):
            answer = problem(431, "http.headers_too_large", "A line of the request's head is too long.")
        else:
            answer = problem(400, "http.bad_request", "The request is not HTTP as it should be.")
        protect(answer, "")
        answer.force_close()
        answer.headers[hdrs.CONNECTION] = "close"
        return answer

    def close_if_idle(self) -> None:
        """Close the connection unless a request waits for its response here."""
        if not self.is_answering:
            self.force_close()

    def hold_to_deadlines(self, now: float) -> None:
        """Close the connection if it has outstayed a deadline; called at each scan."""
        if self._is_stuck(now):
            self._wire.abort()  # type: ignore[union-attr]
        elif self._request_in_progress:
            self._seen_requests = -1
            if self._current_request is not None:
                self._hold_body(self._current_request.content, now)
        elif self._waiter is not None:
            self._hold_header(now)
        self._scanned_at = now

    def _is_stuck(self, now: float) -> bool:
        """Tell whether the client has taken no byte of what waits for it for too long."""
        unsent = self._wire.get_write_buffer_size() if self._wire is not None else 0
        if not unsent or unsent != self._unsent:
            self._unsent = unsent
            self._stuck_since = now
        return bool(unsent) and now - (self._stuck_since or now) > self._watch.deadlines.body_seconds

    def _hold_header(self, now: float) -> None:
        deadlines = self._watch.deadlines
        if self._request_count != self._seen_requests:
            self._seen_requests = self._request_count
            self._stirred = False
            self._header_since = None
            self._idle_since = now
        elif self._stirred and self._header_since is None:
            self._header_since = now
        first = self._request_count == 0
        since = self._idle_since if first else self._header_since
        if since is not None and now - since > deadlines.header_seconds:
            if self._stirred and self.transport is not None:
                self.transport.write(too_slow_head())
            self.force_close()
        elif now - self._idle_since > deadlines.idle_seconds and self._header_since is None:
            self.force_close()

    def _hold_body(self, body: StreamReader, now: float) -> None:
        if body.is_eof():
            return
        if body is not self._body:
            self._body, self._body_since = body, now
        elif self._reading_paused:
            self._body_since += now - self._scanned_at  # the handler takes its time, not the client
        deadlines = self._watch.deadlines
        if self._messages:
            # aiohttp's parser has gone on to something else, so the rest of this body will never come.
            self._break_body(body, RequestRefusedError(400, "The body is not HTTP as it should be."))
        elif now - self._body_since > deadlines.body_seconds + body.total_bytes / deadlines.body_floor:
            self._break_body(body, RequestRefusedError(408, "The body came too slowly."))

    def _break_body(self, body: StreamReader, error: RequestRefusedError) -> None:
        """Raise ``error`` in the handler that reads the body, and close the connection after its response."""
        body.set_exception(error)
        body.feed_eof()
        if self._wire is not None:
            self._wire.pause_reading()
        self.close()


def address_group(peername: Any) -> str:
    """Return what connections of one address are counted under: the address, for IPv6 its network of 64 bits."""
    if not isinstance(peername, tuple):
        return "local"
    address = ip_address(str(peername[0]).partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def too_slow_head() -> bytes:
    """Return the response to a head that never ended, as bytes: no request was made of it yet."""
    answer = problem(408, "http.too_slow", "The head of the request came too slowly.")
    protect(answer, "")
    body = answer.body
    assert isinstance(body, bytes)
    fields = [f"{name}: {value}" for name, value in answer.headers.items()]
    fields += [f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(["HTTP/1.1 408 Request Timeout", *fields, "", ""]).encode() + body
