"""A listening address with an application behind it: bound, served, and stopped without cutting what is under way."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from nocohost.api.errors import NocohostError
from nocohost.api.log import Log
from nocohost.web.body_room import BodyRoom
from nocohost.web.deadlines import ConnectionWatch, Deadlines, WatchedConnection
from nocohost.web.gate import GATE
from nocohost.web.keys import BODY_BYTES
from nocohost.web.request import NodeRequest, request_ids

BACKLOG = 512
CONNECTIONS_PER_ADDRESS = 2000
CUT_SECONDS = 0.1


class ListenError(NocohostError):
    """The node cannot listen on this address."""

    code = "http.cannot_listen"


class AddressInUseError(ListenError):
    """Somebody else listens on this address."""

    code = "http.address_in_use"


class HttpServer:
    """Serves one application on one address; made inside the event loop that runs it, started and stopped once.

    ``settings`` is the prefix of the variables that say where it listens, for the hint of a refusal.
    """

    def __init__(
        self,
        application: web.Application,
        host: str,
        port: int,
        *,
        log: Log,
        deadlines: Deadlines | None = None,
        connections_per_address: int = CONNECTIONS_PER_ADDRESS,
        settings: str = "NOCOHOST_HTTP",
    ) -> None:
        self._settings = settings
        self._application = application
        self._host = host
        self._port = port
        self._watch = ConnectionWatch(deadlines or Deadlines(), connections_per_address, log)
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return self._watch.connections

    async def start(self, *, name_holder: bool = True) -> tuple[str, int]:
        """Listen, and return the address that was bound; port 0 binds any free one.

        Raises ``AddressInUseError``, naming who listens there if that can be known, and ``ListenError``. Without
        ``name_holder`` nobody looks for that: it takes longer than all else here.
        """
        loop = asyncio.get_running_loop()
        runner = web.AppRunner(self._application, access_log=None, shutdown_timeout=CUT_SECONDS)
        await runner.setup()
        try:
            self._listener = await self._listen(loop, runner)
        except (OSError, UnicodeError) as error:  # a name with an empty label is no OSError
            await runner.cleanup()
            raise self._refusal(error, name_holder=name_holder) from error
        self._runner = runner
        self._watch.start(loop)
        address = self._listener.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def announce_stop(self) -> None:
        """Close each connection after its next response, so that clients go elsewhere before the server stops."""
        self._watch.closing = True

    async def stop(self, seconds: float) -> None:
        """Stop listening at once, let requests under way finish for ``seconds``, then cut them off."""
        if self._runner is None or self._listener is None:
            return
        runner, self._runner = self._runner, None
        self._listener.close()
        await asyncio.sleep(0)  # what has arrived already gets its handler before idle connections are closed
        await self._watch.finish(seconds)
        await runner.cleanup()
        self._watch.stop()

    async def _listen(self, loop: asyncio.AbstractEventLoop, runner: web.AppRunner) -> asyncio.Server:
        server = runner.server
        assert server is not None
        server.request_handler = self._application[GATE].handle
        server.request_factory = _request_factory(loop, self._application.get(BODY_BYTES, 1024**2))
        connect = partial(
            WatchedConnection,
            self._watch,
            server,
            loop=loop,
            access_log=None,
            keepalive_timeout=self._watch.deadlines.idle_seconds,
            auto_decompress=False,
        )
        host = self._host
        if self._port == 0:
            # A name with several addresses would get a different free port on each.
            found = await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
            host = str(found[0][4][0])
        return await loop.create_server(connect, host, self._port, backlog=BACKLOG)

    def _refusal(self, error: OSError | UnicodeError, *, name_holder: bool) -> ListenError:
        where, number = f"{self._host}:{self._port}", getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            holder = holder_of(self._port) if name_holder else ""
            return AddressInUseError(
                f"{where} is in use" + (f" by {holder}" if holder else ""),
                hint=f"stop it, or choose another port with {self._settings}__PORT; 0 takes any",
            )
        reason = os.strerror(number) if number and number > 0 else str(error)
        return ListenError(
            f"cannot listen on {where}: {reason}", hint=f"see {self._settings}__HOST and {self._settings}__PORT"
        )


def holder_of(port: int) -> str:
    """Return the process that listens on ``port`` for people to read, or nothing when it cannot be known."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""


def _request_factory(loop: asyncio.AbstractEventLoop, body_bytes: int) -> Callable[..., NodeRequest]:
    new_id = request_ids()
    room = BodyRoom(body_bytes)

    def make(message: Any, payload: Any, protocol: Any, writer: Any, task: "asyncio.Task[None]") -> NodeRequest:
        request = NodeRequest(message, payload, protocol, writer, task, loop, client_max_size=body_bytes)
        request.request_id = new_id()
        request.body_room = room
        return request

    return make
