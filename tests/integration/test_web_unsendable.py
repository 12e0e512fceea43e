"""Responses of plugins that cannot be sent: answered 500, and the log names the route."""

from pathlib import Path

import pytest
from aiohttp import web
from probes.web_door import open_door, parsed

from nocohost.api.routes import route

SPLIT = "a\r\nSet-Cookie: stolen=1"


def in_a_header() -> web.StreamResponse:
    return web.json_response({}, headers={"X-Order": SPLIT})


def in_the_name_of_a_header() -> web.StreamResponse:
    return web.json_response({}, headers={"X-Order: 1\r\nX-Other": "a"})


def in_a_header_of_a_compressed_stream() -> web.StreamResponse:
    response = web.Response(text="a" * 5000, headers={"X-Order": "a\nb"})
    response.enable_compression(web.ContentCoding.gzip)
    response.enable_chunked_encoding()
    return response


def in_a_stream() -> web.StreamResponse:
    return web.StreamResponse(headers={"X-Order": "a\0"})


def in_a_file() -> web.StreamResponse:
    return web.FileResponse(Path(__file__), headers={"X-Order": SPLIT})


def in_a_redirect() -> web.StreamResponse:
    error = web.HTTPFound("/orders")
    error.headers["X-Order"] = SPLIT
    raise error


def in_a_problem() -> web.StreamResponse:
    raise web.HTTPConflict(text="locked", headers={"X-Order": SPLIT})


@pytest.mark.parametrize(
    "respond",
    [
        in_a_header,
        in_the_name_of_a_header,
        in_a_header_of_a_compressed_stream,
        in_a_stream,
        in_a_file,
        in_a_redirect,
        in_a_problem,
    ],
)
async def test_a_newline_is_answered_500_and_logged_with_its_route(respond):
    async def order(request: web.Request) -> web.StreamResponse:
        return respond()

    async with open_door([route("GET", "/orders/{order}", order, public=True)]) as door:
        answer = await door.ask("GET", "/orders/7")
        assert (answer.status, answer.json()["code"]) == (500, "http.internal")
        assert "stolen" not in str(answer)
        (logged,) = door.log.events("http.failed")
        assert (logged["route"], logged["path"]) == ("/orders/{order}", "/orders/7")
        assert isinstance(logged["exc_info"], ValueError)


async def test_the_connection_stays_open_and_sound():
    async def broken(request: web.Request) -> web.StreamResponse:
        return in_a_header_of_a_compressed_stream()

    async def sound(request: web.Request) -> web.StreamResponse:
        return web.Response(text="sound")

    async with open_door(
        [route("GET", "/broken", broken, public=True), route("GET", "/sound", sound, public=True)]
    ) as door:
        head = b"Host: localhost\r\nAccept-Encoding: gzip\r\n"
        data = await door.send(
            b"GET /broken HTTP/1.1\r\n" + head + b"\r\nGET /sound HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n"
        )
        first, second = data.split(b"HTTP/1.1")[1:]
        assert parsed(b"HTTP/1.1" + first).json()["code"] == "http.internal"
        assert parsed(b"HTTP/1.1" + second).body == b"sound"


async def test_a_response_that_was_sent_before_is_answered_500():
    shared = web.Response(text="hello")

    async def hello(request: web.Request) -> web.StreamResponse:
        return shared

    async with open_door([route("GET", "/hello", hello, public=True)]) as door:
        assert (await door.ask("GET", "/hello")).body == b"hello"
        assert (await door.ask("GET", "/hello")).status == 500
        assert "sent before" in str(door.log.events("http.failed")[0]["exc_info"])


async def test_a_file_is_sent_once():
    async def file(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(Path(__file__))

    async with open_door([route("GET", "/file", file, public=True)]) as door:
        assert (await door.ask("GET", "/file")).body == Path(__file__).read_bytes()
