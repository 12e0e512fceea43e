"""Warm spare children: started ahead of their work orders, with everything imported that can be."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.child.process import Child

IDLE_SECONDS = 600.0
"""So long after the last work order the spares are let go; the next order starts a child, and spares again."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
CLOSE_SECONDS = 1.0


class Spares:
    """Keeps ``count`` children waiting while there is work for them, between ``open`` and ``close``.

    The first work order starts a child, and spares once that child is ready; ``IDLE_SECONDS`` after the last order the
    spares are let go, so that a node without such work has none.

    ``start(key)`` starts a child that imports the modules of ``key``, or with None those of the host alone. A spare
    that has imported for one key is not used for another.
    """

    def __init__(
        self, start: Callable[[str | None], Child], count: int, key: str | None, *, clock: Clock, log: Log
    ) -> None:
        self.start = start
        self._count = count
        self._key = key
        self._clock = clock
        self._log = log
        self._waiting: list[Child] = []
        self._filler: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._cold: Child | None = None
        """The child that was last started for an order which found no spare: it comes before the spares."""
        self._failures = 0

    @property
    def waiting(self) -> list[Child]:
        """Return the spares, ready ones and those that still import."""
        return [child for child in self._waiting if child.is_alive]

    def open(self) -> None:
        """Keep spares from now on, in the background, beginning with the first work order."""
        if self._count and self._filler is None:
            self._filler = asyncio.create_task(self._fill(), name="spare children")

    def take(self, key: str) -> Child:
        """Return a spare that may run a job of ``key``, or a child that is just being started."""
        if self._key in (None, key):
            self._wanted.set()
        fitting = [child for child in self.waiting if child.key in (None, key)]
        if not fitting:
            self._cold = self.start(key)
            return self._cold
        child = next((one for one in fitting if one.ready.is_set()), fitting[0])
        self._waiting.remove(child)
        return child

    async def close(self) -> None:
        """End the spares."""
        if self._filler is not None:
            self._filler.cancel()
            with suppress(asyncio.CancelledError):
                await self._filler
        await self._let_go()

    async def _let_go(self) -> None:
        spares, self._waiting = self._waiting, []
        for child in spares:
            child.signal(signal.SIGKILL)
        if spares:
            await asyncio.wait([child.ended for child in spares], timeout=CLOSE_SECONDS)

    async def _fill(self) -> None:
        while True:
            await self._until_wanted()
            self._wanted.clear()
            if self._cold is not None:
                await _until_ready(self._cold)
                self._cold = None
            self._waiting = self.waiting
            while len(self._waiting) < self._count:
                try:
                    child = self.start(self._key)
                except OSError as error:
                    self._log.error("spare.failed", reason=str(error))
                    await self._pause()
                    continue
                self._waiting.append(child)
                child.ended.add_done_callback(partial(self._lost, child))
            await self._until_all_ready()

    async def _until_wanted(self) -> None:
        """Wait for an order, or for a spare that is lost; without any for long, let the spares go."""
        wanted = asyncio.create_task(self._wanted.wait())
        idle = asyncio.create_task(self._clock.sleep(IDLE_SECONDS))
        try:
            await asyncio.wait({wanted, idle}, return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done():
                await self._let_go()
            await wanted
        finally:
            wanted.cancel()
            idle.cancel()

    async def _until_all_ready(self) -> None:
        """Wait until every spare is ready or has ended; one that ends at once is not replaced at once."""
        for child in list(self._waiting):
            await _until_ready(child)
            if child.ready.is_set():
                self._failures = 0
            elif child in self._waiting:
                await self._pause()

    async def _pause(self) -> None:
        self._failures += 1
        await self._clock.sleep(min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE_SECONDS))

    def _lost(self, child: Child, ended: "asyncio.Future[int]") -> None:
        if child in self._waiting:
            self._log.warning("spare.lost", child=child.pid, code=ended.result())
            self._wanted.set()


async def _until_ready(child: Child) -> None:
    """Wait until a child has imported what it can, or has ended."""
    ready = asyncio.create_task(child.ready.wait())
    either: set[asyncio.Future[Any]] = {ready, child.ended}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
