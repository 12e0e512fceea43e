"""When a schedule ticks: instants that follow from the schedule alone, never from the time at which somebody asks.

Every node computes the same ticks, so that the row of a tick can be unique in the cluster. Pure arithmetic: no clock.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from nocohost.api.errors import PluginContractError
from nocohost.api.schedule import Schedule

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)
SOME_DAY: Final = datetime(2025, 1, 1, tzinfo=UTC)
LONGEST_EXPRESSION: Final = 255
ALIASES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Ticks(Protocol):
    """The ticks of one schedule."""

    def after(self, instant: datetime) -> datetime | None:
        """Return the first tick later than ``instant``, in UTC; None when there is none within 50 years."""

    @property
    def words(self) -> str:
        """Return in English when it ticks."""


def read_ticks(schedule: Schedule) -> Ticks:
    """Return when ``schedule`` ticks; raises ``PluginContractError`` for an expression or a zone that cannot be."""
    if schedule.interval_seconds is not None:
        return IntervalTicks(timedelta(seconds=schedule.interval_seconds))
    return _read_cron(schedule)


def ticks_from(ticks: Ticks, first: datetime | None, until: datetime) -> Iterator[datetime]:
    """Yield the tick ``first`` and those that follow it, up to and including ``until``."""
    while first is not None and first <= until:
        yield first
        first = ticks.after(first)


def latest_tick(ticks: Ticks, first: datetime, until: datetime) -> datetime | None:
    """Return the latest tick from ``first``, which is a tick, to ``until``; None when ``first`` is still to come."""
    if first > until:
        return None
    span = timedelta(minutes=2)
    while until - span > first:
        found = ticks.after(until - span)
        if found is not None and found <= until:
            return max(ticks_from(ticks, found, until))
        span *= 4
    return max(ticks_from(ticks, first, until))


@dataclass(frozen=True)
class IntervalTicks:
    """Ticks at the multiples of ``step`` since 1970-01-01T00:00:00Z, whenever the schedule was made."""

    step: timedelta

    def after(self, instant: datetime) -> datetime | None:
        """Return the first tick later than ``instant``."""
        return EPOCH + ((instant - EPOCH) // self.step + 1) * self.step

    @property
    def words(self) -> str:
        """Return the interval in the largest unit that it is a multiple of."""
        seconds = self.step.total_seconds()
        size, unit = next(((size, unit) for size, unit in UNITS if not seconds % size), (1, "second"))
        count = seconds / size
        return f"Every {unit}" if count == 1 else f"Every {count:.12g} {unit}s"


@dataclass(frozen=True)
class CronTicks:
    """Ticks when the clocks on the wall of ``zone`` match a cron expression.

    The rule where those clocks change is that of Debian's cron. An expression whose minute and hour both begin with
    something else than ``*`` names times of day: each fires once a day, at the end of the gap when its time is left
    out, and at the first of two equal times. Any other expression goes by what the clocks show, so what is left out
    does not fire, and what is shown twice fires twice: hourly is every hour.
    """

    zone: tzinfo
    names_times: bool
    pattern: CronSim = field(repr=False, compare=False)
    """The parsed expression; it is copied before it runs, and runs through the naive time of a wall clock."""

    @property
    def words(self) -> str:
        """Return the expression in English, with the zone unless that is UTC."""
        return self.pattern.explain() + ("" if self.zone is UTC else f", {self.zone}")

    def after(self, instant: datetime) -> datetime | None:
        """Return the first tick later than ``instant``."""
        return self._after_by_times(instant) if self.names_times else self._after_by_clock(instant)

    def _after_by_times(self, instant: datetime) -> datetime | None:
        wall = self._matching_after(instant.astimezone(self.zone).replace(tzinfo=None))
        while wall is not None:
            found = self._instant_of(wall)
            if found > instant:
                return found
            wall = self._matching_after(wall)
        return None

    def _after_by_clock(self, instant: datetime) -> datetime | None:
        """Go from one change of the clocks to the next: between two of them time on the wall is plain arithmetic."""
        start = instant.replace(microsecond=0) + SECOND
        while True:
            offset = self._offset(start)
            wall = self._matching_after((start + offset - SECOND).replace(tzinfo=None))
            if wall is None:
                return None
            found = wall.replace(tzinfo=UTC) - offset
            end = start + DAY
            if self._offset(end) != offset:
                start = self._change(start, end)
                if found < start:
                    return found
            elif found < end:
                return found
            else:
                start = max(end, found - 2 * DAY)  # nothing matches until then, whatever the clocks do there

    def _matching_after(self, wall: datetime) -> datetime | None:
        pattern = copy(self.pattern)
        pattern.dt = wall.replace(microsecond=0)
        return next(pattern, None)

    def _instant_of(self, wall: datetime) -> datetime:
        """Return when a wall clock shows this for the first time, or jumps over it."""
        before = wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        after = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        return self._change(after, before) if after < before else before

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.zone).utcoffset() or timedelta(0)

    def _change(self, low: datetime, high: datetime) -> datetime:
        """Return the first second after ``low`` at which the offset is that of ``high``."""
        offset = self._offset(high)
        while high - low > SECOND:
            middle = low + (high - low) // (2 * SECOND) * SECOND
            low, high = (low, middle) if self._offset(middle) == offset else (middle, high)
        return high


def _read_cron(schedule: Schedule) -> CronTicks:
    where, given = f"schedule {schedule.name!r}", schedule.cron or ""
    expression = ALIASES.get(given.strip().lower(), given)
    fields = expression.split()
    if len(fields) != 5 or len(given) > LONGEST_EXPRESSION:
        known = f"minute hour day-of-month month day-of-week, or one of {', '.join(ALIASES)}"
        extra = "; seconds have no field, use interval_seconds" if len(fields) == 6 else ""
        fault = f"{len(fields)} fields" if len(given) <= LONGEST_EXPRESSION else f"{len(given)} characters"
        raise PluginContractError(f"{where}: cron is {given[:100]!r}, {fault}", hint=f"five fields: {known}{extra}")
    try:
        pattern = CronSim(expression, EPOCH.replace(tzinfo=None))
    except (CronSimError, ValueError, AssertionError) as error:
        fault = str(error).replace("Bad ", "the field is wrong: ") or "it cannot be read"
        raise PluginContractError(f"{where}: cron is {given!r}, {fault}", hint="see man 5 crontab") from error
    names_times = not any(part.startswith("*") for part in fields[:2])
    ticks = CronTicks(_read_zone(where, schedule.timezone), names_times, pattern)
    if ticks.after(SOME_DAY) is None:
        raise PluginContractError(f"{where}: cron is {given!r}, which never comes")
    return ticks


def _read_zone(where: str, name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        if name != "localtime":  # each machine has its own
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise PluginContractError(
        f"{where}: there is no time zone {name[:100]!r}",
        hint="an IANA name such as Europe/Berlin; where the system has none, pip install tzdata",
    )
