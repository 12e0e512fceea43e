"""What a request may carry, on real sockets: bodies, limits, codings, strict JSON, and bytes that are not HTTP."""

import asyncio
import json
import logging

import pytest
from aiohttp import web
from probes.web_door import Tokens, open_door, parsed

from nocohost.api.routes import Route, route
from nocohost.node.settings import HttpSettings
from nocohost.web.deadlines import Deadlines

READER = "nch_reader_secret"
PUNYCODE_PART = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=punycode\r\n\r\n'
    b"bcher-kva\r\n--x--\r\n"
)


def open_shop(*routes: Route, **options):
    return open_door(routes, tokens=Tokens(reader=["shop.read"]), **options)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
async def test_encoded_bodies_are_not_read(coding):
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with open_shop(route("POST", "/echo", echo, public=True)) as door:
        answer = await door.ask("POST", "/echo", body=b"\x1f\x8b", headers={"Content-Encoding": coding})
        assert (answer.status, answer.json()["code"]) == (415, "http.encoded_body")
        assert answer.headers["Accept-Encoding"] == "identity"
        answer = await door.ask("POST", "/echo", body=b"x", headers={"Content-Encoding": "identity"})
        assert answer.body == b"x"


async def test_a_body_above_the_limit_is_413_told_or_not():
    async def size(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    settings = HttpSettings(body_bytes=1000)
    async with open_shop(route("POST", "/size", size, public=True), settings=settings) as door:
        assert (await door.ask("POST", "/size", body=b"x" * 1000)).json() == 1000
        answer = await door.ask("POST", "/size", body=b"x" * 1001)
        assert (answer.status, answer.json()["code"]) == (413, "http.body_too_large")
        chunked = b"POST /size HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert parsed(await door.send(chunked + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")).status == 413


async def test_a_handler_may_stream_more_than_the_limit():
    async def size(request: web.Request) -> web.Response:
        return web.json_response(sum([len(chunk) async for chunk in request.content.iter_chunked(65536)]))

    settings = HttpSettings(body_bytes=1000)
    async with open_shop(route("POST", "/upload", size, public=True), settings=settings) as door:
        assert (await door.ask("POST", "/upload", body=b"x" * 3_000_000)).json() == 3_000_000


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("text/plain", "grün".encode(), "grün"),
        ("text/plain; charset=latin-1", b"gr\xfcn", "grün"),
        ("text/plain", b"\xff", 400),
        ("text/plain; charset=klingon", b"x", 415),
        ("text/plain; charset=hex", b"x", 415),
        ("text/plain; charset=punycode", b"bcher-kva", "bcher-kva"),
        ("text/plain; charset=unicode_escape", rb"\u0041", r"\u0041"),
        ("application/x-www-form-urlencoded; charset=punycode", b"a=bcher-kva", "bcher-kva"),
        ("multipart/form-data; boundary=x", PUNYCODE_PART, "bcher-kva"),
    ],
)
async def test_text_that_a_plugin_awaits_is_in_its_charset_and_never_in_a_codec_that_is_none(kind, body, told):
    """Python's codec for punycode takes minutes over a megabyte, and the event loop with it."""

    async def echo(request: web.Request) -> web.Response:
        form = await request.post() if "form" in kind else {"a": await request.text()}
        return web.json_response(form["a"])

    async with open_shop(route("POST", "/echo", echo, public=True)) as door:
        answer = await door.ask("POST", "/echo", body=body, headers={"Content-Type": kind})
        assert told == (answer.json() if answer.status == 200 else answer.status)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[" * 100_000, b"9" * 5000, b'{"a":1,"a":2}', b"\xff"])
async def test_json_that_a_plugin_awaits_is_strict(body):
    async def echo(request: web.Request) -> web.Response:
        return web.json_response(await request.json())

    async with open_shop(route("POST", "/echo", echo, public=True)) as door:
        assert (await door.ask("POST", "/echo", body=b'{"a": [1]}')).json() == {"a": [1]}
        answer = await door.ask("POST", "/echo", body=body)
        assert (answer.status, answer.json()["code"]) == (400, "http.bad_json")


async def test_a_plugin_may_read_json_its_own_way():
    async def lenient(request: web.Request) -> web.Response:
        return web.json_response(str(await request.json(loads=json.loads)))

    async with open_shop(route("POST", "/lenient", lenient, public=True)) as door:
        assert (await door.ask("POST", "/lenient", body=b"[NaN]")).json() == "[nan]"


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_is_a_400_problem_and_the_connection_is_closed(raw, caplog):
    async with open_shop() as door:
        answer = parsed(await door.send(raw))
        assert (answer.status, answer.json()["code"]) == (400, "http.bad_request")
        assert answer.headers["Server"] == "nocohost"
        assert answer.headers["Connection"] == "close"
        assert not caplog.records


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
    ],
)
async def test_lines_that_are_too_long_are_431(raw):
    async with open_shop() as door:
        answer = parsed(await door.send(raw))
        assert (answer.status, answer.json()["code"]) == (431, "http.headers_too_large")


async def test_a_body_whose_chunks_are_broken_is_400():
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    deadlines = Deadlines(idle_seconds=0.4)  # the scan that finds it goes by the shortest deadline
    async with open_shop(route("POST", "/read", read, public=True), deadlines=deadlines) as door:
        head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert parsed(await door.send(head, b"zz\r\nx\r\n", pause=0.05)).status == 400
        assert door.log.events("http.failed") == []


async def test_a_body_is_invited_only_of_who_may_come_in():
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with open_shop(route("POST", "/read", read, permission="shop.read")) as door:

        def head(token: str, expect: str) -> bytes:
            return (
                f"POST /read HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
                f"Content-Length: 2\r\nExpect: {expect}\r\n\r\n"
            ).encode()

        for _ in range(2):  # asked, then remembered
            invited = await door.send(head(READER, "100-continue"), b"ok", pause=0.05)
            assert invited.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        refused = await door.send(head("nch_wrong_secret", "100-continue"), b"ok")
        assert refused.startswith(b"HTTP/1.1 401")
        odd = parsed(await door.send(head(READER, "miracles"), b"ok"))
        assert (odd.status, odd.json()["code"]) == (417, "http.expectation")


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_the_node(caplog):
    left = asyncio.Event()

    async def size(request: web.Request) -> web.Response:
        try:
            return web.json_response(len(await request.read()))
        finally:
            left.set()

    async with open_shop(route("POST", "/size", size, public=True)) as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await asyncio.wait_for(left.wait(), 10)
        assert (await door.ask("POST", "/size", body=b"x")).json() == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
