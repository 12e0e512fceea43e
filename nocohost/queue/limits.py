"""The limits of a node's keys in the whole cluster, as its consumer claims under them."""

from collections.abc import Mapping, Sequence

from nocohost.api.clock import Clock
from nocohost.api.service import Service
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.hot.values import ANY_PLACES, ClaimedJob, Want
from nocohost.store.limits import Limit, claim_limited, limited_keys

REFRESH_SECONDS = 60.0
"""How often a node looks whether a newer one has put a limit on a key that it serves."""


class ClusterLimits:
    """Knows which keys have a limit, claims those, and says when to look again.

    A key is limited by what its row says, which the newest node has declared; ``declared_limits`` is what this node
    would write there.
    """

    def __init__(self, database: SqlDatabase, node_id: str, services: Mapping[str, Service], clock: Clock) -> None:
        self._database = database
        self._node_id = node_id
        self._served = frozenset(services)
        self._clock = clock
        self._limited = frozenset(one.key for one in declared_limits(services) if _limits(one))
        self._refresh_at = clock.monotonic() + REFRESH_SECONDS
        self._held_back: Mapping[str, float | None] = {}
        self._turn = False

    def holds_back(self, key: str) -> bool:
        """Tell whether the limit of ``key`` held due jobs back, so that the end of one lets the next start."""
        return key in self._held_back

    @property
    def pause_seconds(self) -> float | None:
        """Return how long to wait before the next claim because of the limits, None when they do not say."""
        return min((seconds for seconds in self._held_back.values() if seconds is not None), default=None)

    async def refresh(self) -> None:
        """Look once a minute which keys have a limit."""
        now = self._clock.monotonic()
        if now < self._refresh_at:
            return
        async with glance(self._database) as connection:
            self._limited = await limited_keys(connection, self._served)
        self._refresh_at = now + REFRESH_SECONDS

    def split(self, wants: Sequence[Want], *, is_idle: bool) -> tuple[list[Want], list[Want]]:
        """Return what is claimed without limits, and what with limits.

        An idle node that has both asks for them in turn, so that limits cost it no statement.
        """
        limited = [want for want in wants if want.key in self._limited]
        plain = [want for want in wants if want.key not in self._limited]
        asked = {want.key for want in limited}
        self._held_back = {key: self._held_back[key] if key in asked else None for key in self._held_back}
        if is_idle and plain and limited and not self._held_back:
            self._turn = not self._turn
            return ([], limited) if self._turn else (plain, [])
        return plain, limited

    async def claim(self, claim_id: str, wants: Sequence[Want], places: int = ANY_PLACES) -> list[ClaimedJob]:
        """Claim jobs of limited keys; see ``claim_limited``."""
        found = await claim_limited(self._database, self._node_id, claim_id, wants, places)
        # A key whose slots are all taken here is not asked for; the end of one of its jobs still matters.
        busy = {key: None for key in self._held_back if key not in {want.key for want in wants}}
        self._held_back = {**busy, **found.held_back}
        self._limited -= found.unlimited
        return found.jobs


def declared_limits(services: Mapping[str, Service]) -> list[Limit]:
    """Return what these services declare for the whole cluster."""
    return [
        Limit(key, one.cluster_concurrency)
        if one.rate is None
        else Limit(key, one.cluster_concurrency, one.rate.count, float(one.rate.seconds))
        for key, one in services.items()
    ]


def _limits(one: Limit) -> bool:
    return one.concurrency is not None or one.rate_count is not None
