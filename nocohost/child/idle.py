"""Children that have answered a work order and may take another."""

import asyncio
from collections.abc import Callable

from nocohost.child.process import Child

IDLE_SECONDS = 10.0
"""How long a child waits for another work order: while jobs of lost nodes come in, and not for longer than that."""


class IdleChildren:
    """Keeps children for another work order, for a while and at most ``most``; ``end`` is given those that must go.

    A child serves handlers of one kind, all ``async`` or all plain, under whatever keys.
    """

    def __init__(self, end: Callable[[Child], None], most: int) -> None:
        self._end = end
        self._most = most
        self._timers: dict[Child, asyncio.TimerHandle] = {}
        """In the order in which they have come."""
        self._kinds: dict[Child, bool] = {}
        """Whether they serve ``async`` handlers."""

    @property
    def waiting(self) -> list[Child]:
        """Return those that wait and have not died."""
        return [child for child in self._timers if child.is_alive]

    def take(self, key: str, *, is_async: bool) -> Child | None:
        """Return a child for a handler of that kind, best the one that has served ``key`` last; None for none."""
        fitting = [child for child in reversed(self.waiting) if self._kinds[child] is is_async]
        child = next((child for child in fitting if child.key == key), fitting[0] if fitting else None)
        if child is not None:
            self._forget(child)
        return child

    def keep(self, child: Child, *, is_async: bool) -> None:
        """Have a child wait; the one that has waited longest goes when there are too many."""
        self._timers[child] = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._let_go, child)
        self._kinds[child] = is_async
        if len(self._timers) > self._most:
            self._let_go(next(iter(self._timers)))

    def close(self) -> None:
        """Let all of them go."""
        for child in list(self._timers):
            self._let_go(child)

    def _let_go(self, child: Child) -> None:
        self._forget(child)
        self._end(child)

    def _forget(self, child: Child) -> None:
        self._timers.pop(child).cancel()
        del self._kinds[child]
