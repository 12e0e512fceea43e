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

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
CLOSE_SECONDS = 1.0


class Spares:
    """Keeps ``count`` children waiting from ``open`` to ``close``; none before and after.

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
        self._failures = 0

    @property
    def waiting(self) -> list[Child]:
        """Return the spares, ready ones and those that still import."""
        return [child for child in self._waiting if child.is_alive]

    def open(self) -> None:
        """Start the spares, in the background."""
        if self._count and self._filler is None:
            self._wanted.set()
            self._filler = asyncio.create_task(self._fill(), name="spare children")

    def take(self, key: str) -> Child:
        """Return a spare that may run a job of ``key``, or a child that is just being started."""
        fitting = [child for child in self.waiting if child.key in (None, key)]
        if not fitting:
            return self.start(key)
        child = next((one for one in fitting if one.ready.is_set()), fitting[0])
        self._waiting.remove(child)
        self._wanted.set()
        return child

    async def close(self) -> None:
        """End the spares."""
        if self._filler is not None:
            self._filler.cancel()
            with suppress(asyncio.CancelledError):
                await self._filler
        spares, self._waiting = self._waiting, []
        for child in spares:
            child.signal(signal.SIGKILL)
        if spares:
            await asyncio.wait([child.ended for child in spares], timeout=CLOSE_SECONDS)

    async def _fill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
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
            await self._until_ready()

    async def _until_ready(self) -> None:
        """Wait until the newest spare is ready or has ended; one that ends at once is not replaced at once."""
        for child in list(self._waiting):
            ready = asyncio.create_task(child.ready.wait())
            either: set[asyncio.Future[Any]] = {ready, child.ended}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ready.cancel()
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
