"""What keeps a background loop alive: no error ends it, it backs off, and it logs once per outage."""

from collections.abc import Awaitable, Callable
from random import random

from nocohost.api.errors import StoreError
from nocohost.api.log import Log

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0


class Supervision:
    """Watches over the turns of one loop, which may be a coroutine's or a thread's."""

    def __init__(
        self, name: str, log: Log, *, longest_seconds: float = LONGEST_PAUSE_SECONDS, draw: Callable[[], float] = random
    ) -> None:
        self._name = name
        self._log = log
        self._longest = longest_seconds
        self._draw = draw
        self._failures = 0

    async def turn(self, take: Callable[[], Awaitable[None]]) -> float | None:
        """Take one turn; return None, or after a failure the seconds to wait before the next."""
        try:
            await take()
        except Exception as error:  # noqa: BLE001 - the fence around a background loop
            return self.failed(error)
        self.succeeded()
        return None

    def turn_in_thread(self, take: Callable[[], None]) -> float | None:
        """Take one turn of a thread's loop; as ``turn``."""
        try:
            take()
        except Exception as error:  # noqa: BLE001 - the fence around a background loop
            return self.failed(error)
        self.succeeded()
        return None

    def failed(self, error: Exception) -> float:
        """Note a failure, which is logged if it is the first in a row; return the seconds to wait."""
        self._failures += 1
        if self._failures == 1:
            if isinstance(error, StoreError):
                self._log.error("loop.failing", loop=self._name, reason=str(error))
            else:
                self._log.exception("loop.failing", loop=self._name, reason=str(error))
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 16), self._longest)
        return pause * (0.75 + 0.5 * self._draw())

    def succeeded(self) -> None:
        """Note a success; the end of an outage is logged."""
        if self._failures:
            self._log.info("loop.recovered", loop=self._name, failures=self._failures)
            self._failures = 0
