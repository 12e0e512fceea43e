"""A listening ``HttpServer`` for tests: the real application on a real socket, around an app of what a test needs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

from aiohttp import web
from probes.fake_app import ListLog
from prometheus_client import CollectorRegistry

from nocohost.api.principal import Principal
from nocohost.api.resource import Resource
from nocohost.api.routes import Route
from nocohost.node.clock import SystemClock
from nocohost.node.settings import HttpSettings
from nocohost.web.access import Access
from nocohost.web.application import build_application
from nocohost.web.deadlines import Deadlines
from nocohost.web.health import CheckResult, HealthReport
from nocohost.web.server import HttpServer

ADMIN_TOKEN = "an admin token of the environment"


@dataclass(frozen=True)
class Answer:
    """One HTTP response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class FakeHealth:
    """Health that a test turns."""

    def __init__(self, ok: bool = True) -> None:
        self.ok = ok
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def report(self, which: Any) -> HealthReport:
        self.asked.append(which)
        await self.gate.wait()
        return HealthReport(self.ok, [CheckResult("database", self.ok, "one cheap question")])


class Tokens:
    """Tokens kept in memory; counts how often it is asked."""

    def __init__(self, **principals: Sequence[str]) -> None:
        self.known = {f"nch_{name}_secret": Principal(name, frozenset(scopes)) for name, scopes in principals.items()}
        self.asked: list[str] = []

    async def find(self, connection: Any, text: str) -> Principal | None:
        self.asked.append(text)
        return self.known.get(text)


class NoDatabase:
    """A database whose connections nobody uses."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        yield None


def fake_app(**parts: Any) -> Any:
    """Return an app of the given parts; clock, log and database are there in any case."""
    return SimpleNamespace(**{"clock": SystemClock(), "log": ListLog(), "database": NoDatabase(), **parts})


@dataclass(frozen=True)
class Door:
    """Where the server of a test listens, and means to talk to it."""

    server: HttpServer
    port: int
    log: Any

    async def send(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """Send raw bytes on a new connection and return everything that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def ask(
        self, method: str, path: str, *, token: str = "", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request on a connection of its own and return the response."""
        fields = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if token:
            fields["Authorization"] = f"Bearer {token}"
        if body or method == "POST":
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        fields |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
        return parsed(await self.send("\r\n".join([*lines, "", ""]).encode() + body))


def parsed(data: bytes) -> Answer:
    """Take a response apart; of several, the first."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def open_door(
    routes: Sequence[Route] = (),
    *,
    app: Any = None,
    tokens: Tokens | None = None,
    settings: HttpSettings | None = None,
    deadlines: Deadlines | None = None,
    health: Any = None,
    authenticators: Sequence[Any] = (),
    registry: CollectorRegistry | None = None,
    per_address: int = 100,
    declared: Mapping[str, str] = MappingProxyType({}),
    resources: Mapping[str, Resource] = MappingProxyType({}),
    wake: Callable[[str], None] = lambda key: None,
) -> AsyncIterator[Door]:
    """Serve the routes of one plugin, the API and health within the block."""
    app = app or fake_app()
    access = Access(app, admin_token=ADMIN_TOKEN, authenticators=authenticators, lookup=(tokens or Tokens()).find)
    application = build_application(
        app,
        [("shop", one) for one in routes],
        access,
        settings=settings or HttpSettings(),
        health=health or FakeHealth(),
        registry=registry or CollectorRegistry(),
        declared=declared,
        resources=resources,
        wake=wake,
    )
    async with serve(application, app.log, deadlines=deadlines, per_address=per_address) as door:
        yield door


@asynccontextmanager
async def serve(application: web.Application, log: Any, **options: Any) -> AsyncIterator[Door]:
    """Serve an application within the block."""
    per_address = options.pop("per_address", 100)
    server = HttpServer(application, "127.0.0.1", 0, log=log, connections_per_address=per_address, **options)
    _, port = await server.start()
    try:
        yield Door(server, port, log)
    finally:
        await server.stop(1.0)
