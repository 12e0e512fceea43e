"""Children that have answered a work order and may take another of their key."""

import asyncio
from collections.abc import Callable

from nocohost.child.process import Child

IDLE_SECONDS = 10.0
"""How long a child waits for another work order: as long as the jobs of a lost node may be apart, and no memory lies
idle for longer than it takes to tell."""
IDLE_CHILDREN = 4
"""How many wait at most: jobs of so many keys may alternate without a start for each."""


class IdleChildren:
    """Keeps children for another work order, for a while and few at a time; ``end`` is given those that must go."""

    def __init__(self, end: Callable[[Child], None]) -> None:
        self._end = end
        self._timers: dict[Child, asyncio.TimerHandle] = {}
        """In the order in which they have come."""

    @property
    def waiting(self) -> list[Child]:
        """Return those that wait and have not died."""
        return [child for child in self._timers if child.is_alive]

    def take(self, key: str) -> Child | None:
        """Return the child that has served ``key`` last, None when there is none."""
        child = next((child for child in reversed(self.waiting) if child.key == key), None)
        if child is not None:
            self._timers.pop(child).cancel()
        return child

    def keep(self, child: Child) -> None:
        """Have a child wait; the one that has waited longest goes when there are too many."""
        self._timers[child] = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._let_go, child)
        if len(self._timers) > IDLE_CHILDREN:
            self._let_go(next(iter(self._timers)))

    def close(self) -> None:
        """Let all of them go."""
        for child in list(self._timers):
            self._let_go(child)

    def _let_go(self, child: Child) -> None:
        self._timers.pop(child).cancel()
        self._end(child)
