"""What this node knows of who serves what: looked up now and then, so that an enqueue need not ask."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nocohost.api.clock import Clock
from nocohost.api.errors import StoreError, UnservedError
from nocohost.store.coverage import Glimpse, glimpse
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TRUSTED_LOOKS = 1.5
"""For how many looks of the alarm "a live node serves it" is believed."""
DOUBTED_SECONDS = 1.0
"""How long "nobody serves it" is believed before an enqueue looks again."""


def unserved_warning(key: str) -> Mapping[str, str]:
    """Return what whoever enqueues a job that nobody serves is told."""
    return {"code": "key.unserved", "message": f"no live node serves {key}; the job waits until one does"}


class Lookout:
    """Remembers the last look at the coverage. Used by the event loop's thread only.

    ``look_seconds`` is how often somebody looks who need not be asked: the alarm. With ``refuses``, the policy
    ``queue.unserved = refuse``, jobs that nobody serves are refused instead of warned of.
    """

    def __init__(self, database: SqlDatabase, *, clock: Clock, look_seconds: float, refuses: bool = False) -> None:
        self._database = database
        self._trusted_seconds = TRUSTED_LOOKS * look_seconds
        self._clock = clock
        self._refuses = refuses
        self._seen: Glimpse | None = None
        self._seen_at = 0.0
        self._looked_at: float | None = None

    def trusts(self, key: str) -> bool:
        """Tell whether a live node is known to serve ``key``; asks nobody."""
        seen = self._seen
        return (
            seen is not None and key in seen.served and self._clock.monotonic() - self._seen_at < self._trusted_seconds
        )

    def forget(self) -> None:
        """Forget what was seen: this node has joined, and is not in it."""
        self._seen = self._looked_at = None

    async def look(self, connection: "AsyncConnection | None" = None) -> Glimpse:
        """Look now, by one statement, through ``connection`` if one is given; raises ``StoreError``."""
        begun = self._looked_at = self._clock.monotonic()
        if connection is not None:
            seen = await glimpse(connection)
        else:
            async with glance(self._database) as own:
                seen = await glimpse(own)
        self._seen, self._seen_at = seen, begun
        return seen

    async def told(self, key: str) -> Sequence[Mapping[str, str]]:
        """Return what is to be said of a job that waits under ``key``, whatever the policy; raises ``StoreError``."""
        if self.trusts(key):
            return ()
        is_stale = self._looked_at is None or self._clock.monotonic() - self._looked_at >= DOUBTED_SECONDS
        seen = await self.look() if is_stale or self._seen is None else self._seen
        return () if key in seen.served else (unserved_warning(key),)

    async def warnings(self, key: str, connection: "AsyncConnection | None" = None) -> Sequence[Mapping[str, str]]:
        """Return what is to be said of a job under ``key``; asks the database at most once a second.

        Raises ``UnservedError`` when the policy is to refuse, after asking at once whether that is still so.
        ``connection`` is the caller's transaction: another connection could not be had where all wait like this.
        """
        if self.trusts(key):
            return ()
        is_stale = self._looked_at is None or self._clock.monotonic() - self._looked_at >= DOUBTED_SECONDS
        if self._refuses or is_stale:
            try:
                await self.look(connection)
            except StoreError:
                if self._refuses or connection is not None:  # a transaction is spoilt by it
                    raise
                return ()  # the insert that follows will say what is wrong
        if self._seen is None or key in self._seen.served:
            return ()
        if self._refuses:
            raise UnservedError(
                f"no live node serves {key}, and queue.unserved is refuse",
                hint="start a node that serves it; nocohost nodes list shows who serves what",
            )
        return (unserved_warning(key),)
