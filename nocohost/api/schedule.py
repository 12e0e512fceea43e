"""Schedules: recurring enqueues, each of whose ticks makes one job in the whole cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nocohost.api.errors import PluginContractError
from nocohost.api.keys import is_key

CatchUp = Literal["skip", "once", "all"]
LONGEST_INTERVAL = 10 * 366 * 86_400


@dataclass(frozen=True, slots=True)
class Schedule:
    """Enqueue ``payload`` under ``key`` at every tick of ``cron``, read in ``timezone``, or every ``interval_seconds``.

    Exactly one of ``cron`` and ``interval_seconds`` is given. ``cron`` has five fields, or is one of ``@hourly``,
    ``@daily``, ``@midnight``, ``@weekly``, ``@monthly``, ``@yearly``, ``@annually``. An interval ticks at its multiples
    since 1970-01-01T00:00:00Z, so every hour is on the hour.

    ``catch_up`` says what becomes of ticks that passed while nobody served the key: ``skip`` drops them, ``once`` makes
    one job for the latest, ``all`` one for each. A tick counts as passed when it is later than a tenth of the time to
    the next one, but never within 60 s and always after 1 h.
    """

    name: str
    key: str
    payload: Mapping[str, Any]
    cron: str | None = field(default=None, kw_only=True)
    timezone: str = field(default="UTC", kw_only=True)
    interval_seconds: float | None = field(default=None, kw_only=True)
    catch_up: CatchUp = field(default="skip", kw_only=True)

    def __post_init__(self) -> None:
        where = f"schedule {self.name!r}"
        if not self.name or not self.name.isprintable() or len(self.name) > 200:
            raise PluginContractError(f"{where}: no name", hint="1 to 200 printable characters")
        if not is_key(self.key):
            raise PluginContractError(f"{where}: {self.key!r} is no service key", hint="a key reads noun:verb")
        if (self.cron is None) == (self.interval_seconds is None):
            raise PluginContractError(f"{where}: needs either cron or interval_seconds")
        if not isinstance(self.payload, Mapping):
            raise PluginContractError(f"{where}: its payload is a {type(self.payload).__name__}, not a JSON object")
        seconds = self.interval_seconds
        if seconds is not None and (not isinstance(seconds, int | float) or not 1 <= seconds <= LONGEST_INTERVAL):
            raise PluginContractError(f"{where}: interval_seconds is {seconds!r}", hint=f"1 to {LONGEST_INTERVAL}")
        if not all(isinstance(text, str) for text in (self.cron or "", self.timezone)):
            raise PluginContractError(f"{where}: cron and timezone are texts")
        if self.catch_up not in ("skip", "once", "all"):
            raise PluginContractError(f"{where}: catch_up is {self.catch_up!r}", hint="skip, once or all")
