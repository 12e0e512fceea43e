"""The memory that bodies of requests may fill together: large ones wait for each other, before they are read."""

import asyncio
from collections import deque

from nocohost.web.problems import RequestRefusedError

SMALL_BYTES = 16_384
"""Bodies up to this wait for nobody: that many fit in what a connection buffers anyway."""
ROOM_BYTES = 33_554_432
LEAST_BODIES = 4
"""Bodies of the largest size for which there is room in any case."""
WAIT_SECONDS = 10.0


class BodyRoom:
    """Counts the bytes of large bodies from before they are read until their response is ready.

    Used by the event loop's thread only. A body that waits is not read meanwhile: its client is held up, and holds a
    connection's buffer at most.
    """

    def __init__(self, body_bytes: int) -> None:
        self._free = max(ROOM_BYTES, LEAST_BODIES * body_bytes)
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait for room for ``size`` bytes, in the order of asking; raises a problem, 503, after ``WAIT_SECONDS``."""
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        has_room = False
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
            has_room = True
        except TimeoutError:
            raise RequestRefusedError(
                503, "This node has as many large bodies in hand as it can.", hint="Send it again in a moment."
            ) from None
        finally:
            if not has_room:
                self._leave(size, turn)

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._free += size
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)

    def _leave(self, size: int, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():  # its turn came as it was about to leave
            self.give(size)
            return
        self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
        self.give(0)
