"""A loopback proxy that loses answers, hangs and resets: between clients and nodes, and between nodes and database."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 65536


class Proxy:
    """Relays to ``port``; ``lossy`` is the share of answers that are dropped, and their connection with them."""

    def __init__(self, port: int, *, lossy: float = 0.0, seed: str = "") -> None:
        self._target = port
        self._lossy = lossy
        self._dice = random.Random(seed)
        self._open = asyncio.Event()
        self._open.set()
        self._deaf = False
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.lost = 0
        """Answers that were dropped."""
        self.late = 0
        """Questions that were held back, and asked when it was late."""

    def cut(self) -> None:
        """Reset every connection."""
        for pair in list(self._connections):
            for writer in pair:
                writer.transport.abort()

    async def stall(self, seconds: float) -> None:
        """Let nothing through for a while, in either direction; then everything arrives, late."""
        self._open.clear()
        await asyncio.sleep(seconds)
        self._open.set()

    async def lose_answers(self, least: int, seconds: float) -> None:
        """Let questions through and drop the answers, ``least`` of them if they come within the time; then reset.

        What was committed meanwhile is not known to those who asked.
        """
        enough, deadline = self.lost + least, asyncio.get_running_loop().time() + seconds
        self._deaf = True
        while self.lost < enough and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        self.cut()
        self._deaf = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, there)
        self._connections.add(pair)
        relays = [
            asyncio.create_task(self._relay(reader, there, answers=False)),
            asyncio.create_task(self._relay(there_reader, writer, answers=True)),
        ]
        await asyncio.wait(relays, return_when=asyncio.FIRST_COMPLETED)
        for relay in relays:
            relay.cancel()
        await asyncio.wait(relays)
        for each in pair:
            each.transport.abort()
        self._connections.discard(pair)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if not self._open.is_set():
                    await self._open.wait()
                    self.late += not answers
                if answers and self._deaf:
                    self.lost += 1
                    continue
                if answers and self._dice.random() < self._lossy:
                    self.lost += 1
                    return
                sink.write(data)
                await sink.drain()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen within the block."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._open.set()
            while self._tasks:
                self.cut()
                await asyncio.wait(self._tasks, timeout=0.1)
