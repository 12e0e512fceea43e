"""Which of the ticks that have come fire: the catch-up policies, as pure arithmetic."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nocohost.api.schedule import CatchUp
from nocohost.node.ticks import Ticks, latest_tick, ticks_from

LEAST_LATENESS: Final = timedelta(seconds=60)
MOST_LATENESS: Final = timedelta(hours=1)
LATENESS_SHARE: Final = 10


class Firing(NamedTuple):
    """The ticks to fire now, oldest first, and the one to wait for; None when there is no further tick."""

    ticks: Sequence[datetime]
    next_at: datetime | None


def firing(ticks: Ticks, policy: CatchUp, first: datetime, now: datetime, limit: int) -> Firing:
    """Return what fires at ``now`` when every tick before ``first`` is dealt with; at most ``limit`` ticks.

    ``all``: each. ``once``: the latest. ``skip``: those that are not too late, see ``lateness``. When the limit cuts
    them short, ``next_at`` is the first that is left over.
    """
    if policy == "once":
        latest = latest_tick(ticks, first, now)
        return Firing([] if latest is None else [latest], first if latest is None else ticks.after(latest))
    begin: datetime | None = first
    if policy == "skip" and first < now - MOST_LATENESS:
        begin = ticks.after(now - MOST_LATENESS)
    found: list[datetime] = []
    for tick in ticks_from(ticks, begin, now):
        if len(found) >= limit:
            return Firing(found, tick)
        if policy == "all" or now - tick < lateness(ticks, tick):
            found.append(tick)
    return Firing(found, ticks.after(max(now, first)) if first <= now else first)


def lateness(ticks: Ticks, tick: datetime) -> timedelta:
    """Return how late a tick still fires under ``skip``: a tenth of the time to the next, 60 s to 1 h."""
    following = ticks.after(tick)
    if following is None:
        return MOST_LATENESS
    return min(max((following - tick) / LATENESS_SHARE, LEAST_LATENESS), MOST_LATENESS)
