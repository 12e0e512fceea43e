"""The listening server: bound, refused, and stopped without cutting what is under way."""

import asyncio
import os
import socket
import time

import pytest
from aiohttp import web
from probes.web_door import FakeHealth, fake_app, open_door, parsed, serve
from prometheus_client import CollectorRegistry

from nocohost.api.errors import NocohostError
from nocohost.api.routes import route
from nocohost.node.settings import AdminSettings
from nocohost.web.admin import build_admin
from nocohost.web.server import AddressInUseError, HttpServer, ListenError

ASK = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"


def make_server(host: str = "127.0.0.1", port: int = 0, **options) -> HttpServer:
    application = build_admin(fake_app(), FakeHealth(), CollectorRegistry(), settings=AdminSettings())
    return HttpServer(application, host, port, log=fake_app().log, **options)


class Slow:
    """A route that takes its time, unless it is told that it is enough, and notes what became of it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.entered, self.enough = asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def handle(self, request: web.Request) -> web.Response:
        self.entered.set()
        try:
            await asyncio.wait_for(self.enough.wait(), self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return web.json_response("done")


async def test_port_0_binds_any_free_one_and_tells_it():
    server = make_server()
    host, port = await server.start()
    assert host == "127.0.0.1"
    assert port > 0
    await server.stop(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


async def test_a_name_with_several_addresses_gets_one_port():
    server = make_server("localhost")
    host, port = await server.start()
    assert host in {"127.0.0.1", "::1"}
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await server.stop(1)


async def test_an_address_in_use_is_told_with_who_uses_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError) as caught:
            await make_server(port=port).start()
        with pytest.raises(AddressInUseError) as unnamed:
            await make_server(port=port, settings="NOCOHOST_ADMIN").start(name_holder=False)
    assert "NOCOHOST_ADMIN__PORT" in unnamed.value.hint
    assert unnamed.value.message == f"127.0.0.1:{port} is in use"
    assert caught.value.code == "http.address_in_use"
    assert f"127.0.0.1:{port} is in use" in caught.value.message
    assert f"pid {os.getpid()}" in caught.value.message
    assert "NOCOHOST_HTTP__PORT" in caught.value.hint
    assert isinstance(caught.value, NocohostError)


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid", "a..b"])
async def test_an_address_that_cannot_be_bound_is_told(host):
    with pytest.raises(ListenError) as caught:
        await make_server(host, 8787).start()
    assert caught.value.code == "http.cannot_listen"
    assert host in caught.value.message


async def test_what_is_under_way_finishes_and_idle_connections_close_at_once():
    slow = Slow(3600)
    async with open_door([route("GET", "/slow", slow.handle, public=True)]) as door:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", door.port)
        idle_writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await idle_reader.readuntil(b'"ok"}')
        asked = asyncio.create_task(door.send(ASK))
        await slow.entered.wait()
        stopping = asyncio.create_task(door.server.stop(60))
        assert await idle_reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", door.port)
        slow.enough.set()
        answer = parsed(await asked)
        assert (answer.status, answer.body) == (200, b'"done"')
        assert answer.headers["Connection"] == "close"
        await stopping
        assert not slow.cancelled
        idle_writer.close()


async def test_what_does_not_finish_is_cut_at_the_deadline():
    slow = Slow(60)
    async with open_door([route("GET", "/slow", slow.handle, public=True)]) as door:
        asked = asyncio.create_task(door.send(ASK))
        await slow.entered.wait()
        started = time.monotonic()
        await door.server.stop(0.3)
        assert time.monotonic() - started >= 0.3
        assert await asked == b""
        await asyncio.sleep(0)
        assert slow.cancelled


async def test_a_client_that_still_sends_its_body_is_waited_for():
    async def upload(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    async with open_door([route("POST", "/upload", upload, public=True)]) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello")
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(door.server.stop(10))
        await asyncio.sleep(0.1)
        writer.write(b"world")
        assert (await reader.read()).endswith(b"10")
        await stopping
        writer.close()


async def test_before_it_stops_a_server_sends_its_clients_elsewhere():
    async with open_door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(request)
        assert b"Connection" not in await reader.readuntil(b'"ok"}')
        door.server.announce_stop()
        writer.write(request)
        assert b"Connection: close" in await reader.read()
        assert parsed(await door.send(request)).status == 200
        writer.close()


async def test_stopping_twice_or_before_the_start_does_nothing():
    server = make_server()
    await server.stop(1)
    await server.start()
    await server.stop(1)
    await server.stop(1)


async def test_nothing_of_metrics_is_on_the_main_port_and_nothing_of_the_api_on_the_other():
    async with open_door() as door:
        assert (await door.ask("GET", "/metrics")).status == 404
        assert (await door.ask("GET", "/metrics/cluster")).status == 404
    admin = build_admin(fake_app(), FakeHealth(), CollectorRegistry(), settings=AdminSettings())
    async with serve(admin, fake_app().log) as door:
        assert (await door.ask("GET", "/api/v1/jobs")).status == 404
        assert (await door.ask("POST", "/metrics")).status == 405
