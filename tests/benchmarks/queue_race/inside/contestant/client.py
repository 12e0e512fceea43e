"""A contestant's client in a process of its own: ``python -m contestant.client DRIVER``.

Reads one JSON request a line and answers each with one; everything else that is printed goes to standard error.
"""

import asyncio
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TextIO

from contestant import records
from contestant.driver import AbsentError, Driver

CALLERS = 100
LOOK_SECONDS = 0.002


class Client:
    """Does what the benchmark asks, one request after the other, through one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def describe(self) -> dict[str, Any]:
        """Tell how the library is set up."""
        return {"settings": dict(self._driver.settings)}

    async def prepare(self) -> dict[str, Any]:
        """Make the tables."""
        await self._driver.prepare()
        return {}

    async def open(self) -> dict[str, Any]:
        """Connect."""
        await self._driver.open()
        return {}

    async def close(self) -> dict[str, Any]:
        """Disconnect."""
        await self._driver.close()
        return {}

    async def commands(self, processes: int) -> dict[str, Any]:
        """Tell the command lines of the serving processes."""
        return {"commands": self._driver.commands(processes)}

    async def enqueue_one(self, count: int, seconds: float = 0.0, first: int = 0) -> dict[str, Any]:
        """Enqueue one job after the other."""
        return await _timed(self._in_turn(first, first + count, seconds))

    async def enqueue_concurrently(self, count: int) -> dict[str, Any]:
        """Enqueue from a hundred coroutines at a time, each one after the other."""
        if not self._driver.concurrent:
            raise AbsentError("the client is blocking")
        share = -(-count // CALLERS)
        turns = [self._in_turn(start, min(start + share, count)) for start in range(0, count, share)]
        return await _timed(_together(turns))

    async def enqueue_many(self, count: int) -> dict[str, Any]:
        """Enqueue with the library's own call for many."""
        return await _timed(self._in_bulk(count))

    async def preload(self, count: int) -> dict[str, Any]:
        """Store jobs in whichever way is quickest."""
        load = getattr(self._driver, "preload", None)
        if load is not None:
            return await _timed(load([records.new_job(number) for number in range(count)]))
        try:
            return await _timed(self._in_bulk(count))
        except AbsentError:
            return await self.enqueue_one(count)

    async def enqueue_paced(self, count: int, gap_seconds: float) -> dict[str, Any]:
        """Enqueue one job every so often, on the beat of the clock."""
        await self._driver.enqueue(records.new_job(count))  # connects
        await asyncio.sleep(1)
        start = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number * gap_seconds - time.perf_counter()))
            await self._driver.enqueue(records.new_job(number))
        return {"seconds": time.perf_counter() - start}

    async def watch(self, count: int, limit_seconds: float) -> dict[str, Any]:
        """Wait until so many jobs have run and the end of every job is committed; tell the instant, or None."""
        file, deadline = os.environ[records.FILE], time.monotonic() + limit_seconds
        while records.count(file) < count:
            if time.monotonic() > deadline:
                return {"ended_at": None, "left": count - records.count(file)}
            await asyncio.sleep(LOOK_SECONDS)
        while left := await self._driver.unfinished():
            if time.monotonic() > deadline:
                return {"ended_at": None, "left": left}
            await asyncio.sleep(LOOK_SECONDS)
        return {"ended_at": time.monotonic_ns()}

    async def add_ballast(self, history: int, parked: int) -> dict[str, Any]:
        """Fill the tables with what does not concern the jobs that are measured; only some drivers can."""
        fill: Any = getattr(self._driver, "add_ballast", None)
        if fill is None:
            raise AbsentError("ballast")
        await fill(history, parked)
        return {}

    async def await_records(self, count: int, limit_seconds: float) -> dict[str, Any]:
        """Wait until there are so many records; tell how many there are."""
        file, deadline = os.environ[records.FILE], time.monotonic() + limit_seconds
        while (found := records.count(file)) < count and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        return {"count": found}

    async def _in_turn(self, start: int, stop: int, seconds: float = 0.0) -> None:
        for number in range(start, stop):
            await self._driver.enqueue(records.new_job(number, seconds))

    async def _in_bulk(self, count: int) -> None:
        size = self._driver.bulk
        for start in range(0, count, size):
            jobs = [records.new_job(number) for number in range(start, min(start + size, count))]
            await self._driver.enqueue_many(jobs)


async def _together(turns: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*turns)


async def _timed(work: Awaitable[None]) -> dict[str, Any]:
    start = time.perf_counter()
    await work
    return {"seconds": time.perf_counter() - start}


async def _answer(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    action = request.pop("action")
    try:
        return await getattr(client, action)(**request)
    except AbsentError as error:
        return {"absent": str(error)}


async def _serve(driver: Driver, answers: TextIO) -> None:
    client, loop = Client(driver), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _answer(client, json.loads(line))), file=answers, flush=True)


def main() -> None:
    """Serve requests until standard input ends."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        driver = importlib.import_module(f"contestant.drivers.{sys.argv[1]}").Driver()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(driver, answers))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not os.environ.get("RACE_UVLOOP") or importlib.util.find_spec("uvloop") is None:
        return None
    return importlib.import_module("uvloop").new_event_loop


if __name__ == "__main__":
    main()
