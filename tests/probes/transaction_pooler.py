"""A pooler in transaction mode, as small as one can be: each transaction goes to whichever server connection is free.

What a server connection says while no client is linked to it is dropped, notifications among it.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

ASKS_FOR_ENCRYPTION = {80877103, 80877104}
READY = b"Z"
AUTHENTICATED = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
KEY = b"K\x00\x00\x00\x0c" + struct.pack("!II", 4242, 4242)
IDLE = b"Z\x00\x00\x00\x05I"
REFUSED = b"SFATAL\x00C08P01\x00Munsupported startup parameter: options\x00\x00"


@dataclass(eq=False)
class Server:
    """One connection to the real server, and the client that its answers go to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    client: asyncio.StreamWriter | None = None


class TransactionPooler:
    """Serves clients of one database, as one user whom the real server trusts on its socket."""

    def __init__(self, socket: str, database: str) -> None:
        self._socket = socket
        self._startup = b"\x00\x03\x00\x00user\x00postgres\x00database\x00" + database.encode() + b"\x00\x00"
        self._free: list[Server] = []
        self._linked: dict[asyncio.StreamWriter, Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Accept clients within the block; give the port."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._admit(reader, writer)
            while True:
                kind, body = await message(reader)
                if kind == b"X":
                    break
                if writer not in self._linked:
                    server = self._free.pop() if self._free else (await self._connect())[0]
                    server.client, self._linked[writer] = writer, server
                self._linked[writer].writer.write(framed(kind, body))
        writer.close()
        if (server := self._linked.pop(writer, None)) is not None:
            server.writer.close()  # what a client leaves behind in the middle of a transaction is rolled back

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            size = struct.unpack("!I", await reader.readexactly(4))[0]
            startup = await reader.readexactly(size - 4)
            if struct.unpack("!I", startup[:4])[0] not in ASKS_FOR_ENCRYPTION:
                break
            writer.write(b"N")
        if b"\x00options\x00" in startup:
            writer.write(framed(b"E", REFUSED))
            raise ConnectionError
        server, parameters = await self._connect()
        self._free.append(server)
        writer.write(AUTHENTICATED + parameters + KEY + IDLE)

    async def _connect(self) -> tuple[Server, bytes]:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        self._writers.append(writer)
        writer.write(struct.pack("!I", len(self._startup) + 4) + self._startup)
        parameters = b""
        while (said := await message(reader))[0] != READY:
            parameters += framed(*said) if said[0] == b"S" else b""
        server = Server(reader, writer)
        self._tasks.add(asyncio.create_task(self._answer(server)))
        return server, parameters

    async def _answer(self, server: Server) -> None:
        """Hand on what the server says, until no transaction is open; then the next client may have it."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await message(server.reader)
                client = server.client
                if client is None:
                    continue
                if kind == READY and body == b"I":
                    server.client = None
                    if self._linked.pop(client, None) is not None:
                        self._free.append(server)
                client.write(framed(kind, body))
        if server in self._free:
            self._free.remove(server)
        if server.client is not None:
            server.client.close()  # whoever loses its server in the middle loses its connection, too


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the type and the body of the next message."""
    kind = await reader.readexactly(1)
    size = struct.unpack("!I", await reader.readexactly(4))[0]
    return kind, await reader.readexactly(size - 4)


def framed(kind: bytes, body: bytes) -> bytes:
    """Return a message as it is sent."""
    return kind + struct.pack("!I", len(body) + 4) + body
