"""Deadlines of connections, in real time on real sockets: who sends too slowly is let go, who is only slow is not."""

import asyncio
import time

import pytest
from aiohttp import web
from probes.web_door import open_door, parsed

from nocohost.api.routes import route
from nocohost.web.deadlines import Deadlines

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
SLACK_SECONDS = 15.0
"""How much later than its deadline a connection may be closed on a busy machine."""


async def upload(request: web.Request) -> web.Response:
    return web.json_response(len(await request.read()))


def open_slow(**seconds: float):
    generous = {"header_seconds": 30.0, "body_seconds": 30.0, "idle_seconds": 30.0}
    return open_door([route("POST", "/upload", upload, public=True)], deadlines=Deadlines(**{**generous, **seconds}))


class Peer:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.started = time.monotonic()

    @classmethod
    async def to(cls, door) -> "Peer":
        return cls(*await asyncio.open_connection("127.0.0.1", door.port))

    async def drip(self, data: bytes, seconds: float) -> None:
        """Send byte after byte until the server has had enough."""
        try:
            for byte in data:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
                await asyncio.sleep(seconds)
        except ConnectionError:
            pass

    async def closed_after(self) -> tuple[float, bytes]:
        """Wait for the end of the connection; return how long it lasted and what was received."""
        received = b""
        try:
            async with asyncio.timeout(20):
                while data := await self.reader.read(65536):
                    received += data
        except ConnectionError:
            pass
        self.writer.close()
        return time.monotonic() - self.started, received


async def test_a_connection_that_says_nothing_is_closed():
    async with open_slow(header_seconds=0.5) as door:
        lasted, received = await (await Peer.to(door)).closed_after()
        assert 0.5 <= lasted < 0.5 + SLACK_SECONDS
        assert received == b""
        assert door.server.connections == 0


async def test_a_head_that_drips_is_answered_408_and_closed():
    async with open_slow(header_seconds=0.5) as door:
        peer = await Peer.to(door)
        dripping = asyncio.create_task(peer.drip(HEAD[:-2] * 50, 0.05))
        lasted, received = await peer.closed_after()
        dripping.cancel()
        assert 0.5 <= lasted < 0.5 + SLACK_SECONDS
        answer = parsed(received)
        assert (answer.status, answer.json()["code"]) == (408, "http.too_slow")
        assert answer.headers["Connection"] == "close"


async def test_half_a_head_on_a_used_connection_is_closed_by_the_same_deadline():
    async with open_slow(header_seconds=0.5) as door:
        peer = await Peer.to(door)
        peer.writer.write(HEAD)
        await peer.reader.readuntil(b'"ok"}')
        await asyncio.sleep(1.0)  # idle, which is well within its own deadline
        peer.started = time.monotonic()
        peer.writer.write(HEAD[:20])
        lasted, received = await peer.closed_after()
        assert 0.4 <= lasted < 0.5 + SLACK_SECONDS
        assert parsed(received).status == 408


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not():
    async with open_slow(idle_seconds=1.5) as door:
        idle, busy = await Peer.to(door), await Peer.to(door)
        idle.writer.write(HEAD)
        for _ in range(6):
            busy.writer.write(HEAD)
            await busy.reader.readuntil(b'"ok"}')
            await asyncio.sleep(0.3)
        lasted, received = await idle.closed_after()
        assert lasted < 1.8 + SLACK_SECONDS
        assert parsed(received).status == 200
        busy.writer.write(HEAD)
        assert await busy.reader.readuntil(b'"ok"}')
        busy.writer.close()


@pytest.mark.parametrize(
    "start",
    [
        UPLOAD % 100_000 + b"x" * 10,
        UPLOAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"5\r\nhello",
    ],
)
async def test_half_a_body_is_answered_408_and_closed(start):
    async with open_slow(body_seconds=0.5) as door:
        peer = await Peer.to(door)
        peer.writer.write(start)
        lasted, received = await peer.closed_after()
        assert 0.5 <= lasted < 0.5 + SLACK_SECONDS
        answer = parsed(received)
        assert (answer.status, answer.json()["code"]) == (408, "http.too_slow")
        assert door.log.events("http.failed") == []


async def test_a_body_that_drips_is_answered_408_and_closed():
    async with open_slow(body_seconds=0.5) as door:
        peer = await Peer.to(door)
        peer.writer.write(UPLOAD % 100_000)
        dripping = asyncio.create_task(peer.drip(b"x" * 1000, 0.02))
        lasted, received = await peer.closed_after()
        dripping.cancel()
        assert 0.5 <= lasted < 0.5 + SLACK_SECONDS
        assert parsed(received).status == 408


async def test_a_slow_but_honest_upload_survives():
    async with open_slow(body_seconds=1.0) as door:
        peer = await Peer.to(door)
        peer.writer.write(UPLOAD % 12_000)
        for _ in range(12):  # 2 s altogether, twice the deadline, at 6 kB/s
            await asyncio.sleep(0.17)
            peer.writer.write(b"x" * 1000)
        assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert await peer.reader.readexactly(5) == b"12000"
        peer.writer.close()


async def test_a_handler_that_takes_its_time_is_not_held_against_the_client():
    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.json_response(len(await request.read()))

    deadlines = Deadlines(0.4, 0.4, 0.4)
    async with open_door([route("POST", "/late", late, public=True)], deadlines=deadlines) as door:
        body = b"x" * 900_000  # more than is buffered ahead of the handler, so reading pauses
        answer = await door.ask("POST", "/late", body=body)
        assert (answer.status, answer.body) == (200, b"900000")


async def test_a_response_of_which_nothing_is_taken_is_given_up():
    ended = asyncio.Event()

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            ended.set()

    deadlines = Deadlines(body_seconds=0.5)
    async with open_door([route("GET", "/flood", flood, public=True)], deadlines=deadlines) as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=1024)
        writer.transport.pause_reading()
        writer.write(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            await ended.wait()
        writer.transport.abort()
        assert door.log.events("http.failed") == []


async def test_a_long_answer_and_a_quiet_stream_are_within_every_deadline():
    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(4):
            await asyncio.sleep(0.4)
            await response.write(b"data: x\n\n")
        return response

    deadlines = Deadlines(0.3, 0.3, 0.3)
    async with open_door([route("GET", "/events", events, public=True)], deadlines=deadlines) as door:
        answer = await door.ask("GET", "/events")
        assert answer.body.count(b"data: x") == 4


async def test_an_address_may_have_so_many_connections_and_no_more():
    async with open_door(per_address=3) as door:
        peers = [await Peer.to(door) for _ in range(3)]
        lasted, received = await (await Peer.to(door)).closed_after()
        assert (received, lasted < SLACK_SECONDS) == (b"", True)
        assert door.log.events("http.too_many_connections")[0]["address"] == "127.0.0.1"
        for peer in peers:
            peer.writer.write(HEAD)
            assert b"200" in await peer.reader.readline()
        peers[0].writer.close()
        await peers[0].writer.wait_closed()
        await asyncio.sleep(0.05)
        assert (await door.ask("GET", "/livez")).status == 200
        for peer in peers[1:]:
            peer.writer.close()


async def test_pipelined_requests_are_answered_in_order():
    async with open_door([route("POST", "/upload", upload, public=True)]) as door:
        last = HEAD.replace(b"Host", b"Connection: close\r\nHost")
        data = await door.send(HEAD + UPLOAD % 3 + b"abc" + HEAD + last)
        assert data.count(b"HTTP/1.1 200 OK") == 4
