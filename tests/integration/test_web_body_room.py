"""Many large bodies at once: they wait for each other before they are read, and small ones wait for nobody."""

import asyncio

import pytest
from aiohttp import web
from probes.web_door import open_door, parsed

from nocohost.api.routes import route
from nocohost.node.settings import HttpSettings
from nocohost.web import body_room
from nocohost.web.body_room import BodyRoom

LARGE = 90_000
SETTINGS = HttpSettings(body_bytes=100_000)


@pytest.fixture(autouse=True)
def small_room(monkeypatch):
    monkeypatch.setattr(body_room, "ROOM_BYTES", 300_000)
    monkeypatch.setattr(body_room, "LEAST_BODIES", 2)


class Hoard:
    """A route that keeps each body until it is told to let go."""

    def __init__(self):
        self.held, self.most = 0, 0
        self.going = asyncio.Event()

    async def keep(self, request: web.Request) -> web.Response:
        size = len(await request.read())
        self.held += size
        self.most = max(self.most, self.held)
        await self.going.wait()
        self.held -= size
        return web.json_response(size)

    async def holds(self, size: int) -> None:
        async with asyncio.timeout(20):
            while self.held < size:
                await asyncio.sleep(0.01)

    def door(self):
        return open_door([route("POST", "/keep", self.keep, public=True)], settings=SETTINGS)


async def test_a_flood_of_large_bodies_is_read_a_few_at_a_time_and_answered_in_whole():
    hoard = Hoard()
    async with hoard.door() as door:
        asked = [asyncio.create_task(door.ask("POST", "/keep", body=b"x" * LARGE)) for _ in range(40)]
        await hoard.holds(3 * LARGE)
        await asyncio.sleep(0.1)
        assert hoard.held == 3 * LARGE, "the fourth would be more than there is room for"
        small = asyncio.create_task(door.ask("POST", "/keep", body=b"x" * 100))
        await hoard.holds(3 * LARGE + 100)
        hoard.going.set()
        assert {(answer.status, answer.json()) for answer in await asyncio.gather(*asked)} == {(200, LARGE)}
        assert (await small).status == 200
        assert hoard.most <= 300_000 + 100


async def test_who_finds_no_room_is_answered_503_and_others_are_not_kept(monkeypatch):
    monkeypatch.setattr(body_room, "WAIT_SECONDS", 0.05)
    hoard = Hoard()
    async with hoard.door() as door:
        asked = [asyncio.create_task(door.ask("POST", "/keep", body=b"x" * LARGE)) for _ in range(3)]
        await hoard.holds(3 * LARGE)
        refused = await door.ask("POST", "/keep", body=b"x" * LARGE)
        assert (refused.status, refused.json()["code"]) == (503, "http.unavailable")
        hoard.going.set()
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 3
        assert (await door.ask("POST", "/keep", body=b"x" * LARGE)).status == 200


async def test_a_body_of_unknown_length_counts_as_the_largest():
    hoard = Hoard()
    chunked = b"POST /keep HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"7530\r\n" + b"x" * 30_000 + b"\r\n0\r\n\r\n"
    async with hoard.door() as door:
        asked = [asyncio.create_task(door.send(chunked + piece)) for _ in range(4)]
        await hoard.holds(3 * 30_000)
        await asyncio.sleep(0.1)
        assert hoard.held == 3 * 30_000
        hoard.going.set()
        assert {parsed(answer).status for answer in await asyncio.gather(*asked)} == {200}


async def test_who_leaves_while_waiting_keeps_no_room(monkeypatch):
    room = BodyRoom(1000)
    await room.take(290_000)
    waiting = [asyncio.create_task(room.take(size)) for size in (200_000, 5_000)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    async with asyncio.timeout(30):
        await waiting[1]
    room.give(290_000)
    leaving = asyncio.create_task(room.take(299_000))
    await asyncio.sleep(0)
    assert not leaving.done(), "5,000 are still taken"
    room.give(5_000)  # its turn has come, and it leaves before it hears of it
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with asyncio.timeout(30):
        await room.take(300_000)
