"""How much of bare aiohttp's speed a JSON route keeps behind the host: token checked, access log off on both sides.

Run ``python tests/benchmarks/bench_route.py``. Two processes serve the same handler: one on an aiohttp application of
its own, one registered through ``build_application`` and served by ``HttpServer``. A load generator in a third keeps 32
keep-alive connections busy, on one and the other in many short alternating turns, so that a busy moment of the machine
hits both. Prints the median requests/s of each and the median ratio of neighbouring turns; exits 3 below the limit.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from nocohost import Principal, Route, route
from nocohost.node.clock import SystemClock
from nocohost.node.settings import HttpSettings
from nocohost.web.access import Access
from nocohost.web.application import build_application
from nocohost.web.server import HttpServer

TOKEN = "nch_benchmark000_0123456789012345678901234567890123456789012"
MUST_REACH = 0.80
TURNS = 25
TURN_SECONDS = 0.5
SETTLE_SECONDS = 0.1
CONNECTIONS = 32


async def order(request: web.Request) -> web.Response:
    """Answer with one small JSON object."""
    return web.json_response({"order": 4711, "customer": "Ada", "total": "119.00", "currency": "EUR"})


class QuietLog:
    """A log that nobody reads."""

    def bind(self, **fields: Any) -> "QuietLog":
        return self

    def debug(self, event: str, **fields: Any) -> None: ...

    info = warning = error = exception = debug


class AlwaysWell:
    """Health of a node that is always well."""

    async def report(self, which: str) -> Any:
        return SimpleNamespace(ok=True, checks=())


class NoDatabase:
    """A database whose connections nobody uses."""

    @asynccontextmanager
    async def connect(self) -> Any:
        yield None


async def find_token(connection: Any, text: str) -> Principal | None:
    """Know one token."""
    return Principal("bench", frozenset({"shop.read"})) if text == TOKEN else None


async def serve_bare(port: Any) -> None:
    """Serve the route on an aiohttp application of its own."""
    application = web.Application()
    application.router.add_get("/shop/order", order)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port.value = site.port
    await asyncio.Event().wait()


async def serve_hosted(port: Any) -> None:
    """Serve the same route the way a node does."""
    app: Any = SimpleNamespace(clock=SystemClock(), log=QuietLog(), database=NoDatabase())
    routes: list[tuple[str, Route]] = [("shop", route("GET", "/shop/order", order, permission="shop.read"))]
    application = build_application(
        app,
        routes,
        Access(app, lookup=find_token),
        settings=HttpSettings(),
        health=AlwaysWell(),
        registry=CollectorRegistry(),
    )
    server = HttpServer(application, "127.0.0.1", 0, log=QuietLog())
    _, port.value = await server.start()
    await asyncio.Event().wait()


def serve(which: str, port: Any) -> None:
    """Run one of the two servers for ever."""
    asyncio.run(serve_bare(port) if which == "bare" else serve_hosted(port))


class Client(asyncio.Protocol):
    """One keep-alive connection that sends its next request as soon as a response is there."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answers = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(data[:200])
        self.answers += 1
        self.transport.write(self.request)  # type: ignore[union-attr]


async def load(port: int, seconds: float) -> float:
    """Keep the connections busy for ``seconds``; return requests/s."""
    head = f"GET /shop/order HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(lambda: Client(head), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    await asyncio.sleep(SETTLE_SECONDS)
    before, started = sum(client.answers for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    done, elapsed = sum(client.answers for client in clients) - before, time.perf_counter() - started
    for client in clients:
        client.transport.abort()  # type: ignore[union-attr]
    return done / elapsed


def measure(turns: int, seconds: float) -> dict[str, Any]:
    """Return the requests/s of both sides, measured in turns, and the ratio of their medians."""
    context = multiprocessing.get_context("spawn")
    ports = {name: context.Value("i", 0) for name in ("bare", "hosted")}
    processes = [context.Process(target=serve, args=(name, port), daemon=True) for name, port in ports.items()]
    for process in processes:
        process.start()
    try:
        deadline = time.monotonic() + 30
        while not all(port.value for port in ports.values()):
            if time.monotonic() > deadline:
                raise TimeoutError("the servers did not start")
            time.sleep(0.05)
        speeds: dict[str, list[float]] = {name: [] for name in ports}
        for turn in range(turns + 1):
            for name in sorted(ports, reverse=bool(turn % 2)):
                speed = asyncio.run(load(ports[name].value, seconds))
                if turn:  # the first turn warms up
                    speeds[name].append(speed)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    ratios = [hosted / bare for bare, hosted in zip(speeds["bare"], speeds["hosted"], strict=True)]
    return {
        "requests_per_second": {name: round(statistics.median(values)) for name, values in speeds.items()},
        "ratio": round(statistics.median(ratios), 3),
        "quartiles": [round(value, 3) for value in statistics.quantiles(ratios, n=4)[::2]],
        "must_reach": MUST_REACH,
    }


def main() -> int:
    """Measure, print, and fail when the ratio is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--seconds", type=float, default=TURN_SECONDS)
    options = parser.parse_args()
    result = measure(options.turns, options.seconds)
    print(json.dumps(result, indent=2))
    return 0 if result["ratio"] >= MUST_REACH else 3


if __name__ == "__main__":
    sys.exit(main())
