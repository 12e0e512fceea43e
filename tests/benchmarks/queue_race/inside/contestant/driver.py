"""What the benchmark asks of a library; ``contestant.drivers`` has one answer for each."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class AbsentError(Exception):
    """The library has no such thing."""


class Driver(Protocol):
    """One library on a store of its own, named by ``RACE_URL``.

    ``concurrent`` tells whether many coroutines may enqueue at a time through one client; libraries with a blocking
    client may not. ``bulk`` is how many jobs ``enqueue_many`` is best given at a time.
    """

    settings: Mapping[str, Any]
    concurrent: bool
    bulk: int

    async def prepare(self) -> None:
        """Make the tables in an empty store."""

    async def open(self) -> None:
        """Connect a client."""

    async def close(self) -> None:
        """Disconnect it."""

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Enqueue one job; returns when it is stored."""

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Enqueue many at once; raises ``AbsentError`` when the library cannot."""

    async def unfinished(self) -> int:
        """Return how many jobs have no committed end yet."""

    def commands(self, processes: int) -> list[list[str]]:
        """Return the command lines of as many serving processes."""
