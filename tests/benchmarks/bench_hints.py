"""How long a hint takes from ``send`` in one process to its callback in another, on both databases. See README.md."""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import structlog

from nocohost.node.clock import SystemClock
from nocohost.store.database import open_database
from nocohost.store.hints import make_hints
from nocohost.testing.postgres import PostgresServer, find_binaries

LIMITS = {"postgresql": 4.0, "sqlite": 15.0}
"""In milliseconds, at the median."""
PAUSE_SECONDS = 0.02
WARM_UP = 20


def main() -> int:
    """Measure, print the table, and return 3 when a median is beyond its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hints", type=int, default=500)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--send", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        asyncio.run(send(arguments.send, arguments.hints))
        return 0
    binaries = find_binaries({})
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        figures["sqlite"] = asyncio.run(hear(f"sqlite:///{folder}/hints.sqlite", arguments.hints))
        if binaries is not None:
            with PostgresServer(binaries, durable=True) as server:
                figures["postgresql"] = asyncio.run(hear(server.create_database("hints"), arguments.hints))
    for name, figure in figures.items():
        print(f"{name:<12} p50 {figure['p50']:6.2f} ms   p99 {figure['p99']:6.2f} ms   heard {figure['heard']:.0%}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 3 if any(figure["p50"] > LIMITS[name] for name, figure in figures.items()) else 0


async def hear(url: str, count: int) -> dict[str, float]:
    """Listen while another process sends; return the milliseconds that its hints took."""
    database = open_database(url, clock=SystemClock(), log=structlog.get_logger())
    hints = make_hints(database, clock=SystemClock(), log=structlog.get_logger())
    taken: list[float] = []

    def heard(text: str | None) -> None:
        if text is not None:
            taken.append((time.monotonic_ns() - int(text)) / 1e6)

    hints.subscribe("bench", heard)
    await hints.start()
    command = [sys.executable, __file__, "--send", url, "--hints", str(count + WARM_UP)]
    sender = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL)
    if await sender.wait():
        raise SystemExit("the sender failed")
    await asyncio.sleep(0.2)
    await hints.stop()
    await database.close()
    taken = taken[WARM_UP:]
    return {"p50": median(taken), "p99": quantiles(taken, n=100)[98], "heard": len(taken) / count}


async def send(url: str, count: int) -> None:
    """Send hints that say when they were sent."""
    database = open_database(url, clock=SystemClock(), log=structlog.get_logger())
    hints = make_hints(database, clock=SystemClock(), log=structlog.get_logger())
    await hints.start()
    await asyncio.sleep(1.0)
    for _ in range(count):
        hints.send("bench", str(time.monotonic_ns()))
        await asyncio.sleep(PAUSE_SECONDS)
    await hints.stop()
    await database.close()


if __name__ == "__main__":
    sys.exit(main())
