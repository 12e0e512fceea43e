"""Services and job types: what a plugin offers under a key, and what every node must know of its jobs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random
from typing import TYPE_CHECKING, Any, Literal

from nocohost.api.errors import PluginContractError
from nocohost.api.keys import is_key

if TYPE_CHECKING:
    from pydantic import BaseModel

Handler = Callable[..., Any]
"""``handler(job)`` or ``handler(job, app)``; which kinds of function fit is a matter of the isolation."""
Isolation = Literal["loop", "thread", "process"]
OnCrash = Literal["retry", "hold", "fail"]
MOST = 2**31 - 1
LONGEST_SECONDS = 10 * 366 * 86_400


def _is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def _is_number(value: object) -> bool:
    """Tell whether ``value`` is a number that both databases, and timers, can reckon with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LONGEST_SECONDS


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt: ``seconds * factor ** (failures - 1)``, capped, with jitter."""

    seconds: float = 2.0
    factor: float = 2.0
    cap_seconds: float = 3600.0
    jitter: float = 0.2
    """Up to this fraction is added or taken away at random, so that failed jobs do not come back all at once."""

    def __post_init__(self) -> None:
        numbers = (self.seconds, self.factor, self.cap_seconds, self.jitter)
        if not all(_is_number(number) for number in numbers) or not (
            self.seconds >= 0 and self.factor >= 1 and self.cap_seconds >= 0 and 0 <= self.jitter <= 1
        ):
            raise PluginContractError(f"{self}: seconds and cap are not negative, factor >= 1, jitter within 0..1")

    def delay_seconds(self, failures: int, draw: Callable[[], float] = random) -> float:
        """Return the seconds to wait after the ``failures``-th failure; ``draw`` gives a number within 0..1."""
        exponent = min(max(failures, 1) - 1, 64)
        delay = min(self.seconds * self.factor**exponent, self.cap_seconds)
        return delay * (1 + self.jitter * (2 * draw() - 1))


@dataclass(frozen=True, slots=True)
class Rate:
    """How often jobs of a key may start in the whole cluster: ``count`` in ``seconds``, as a token bucket.

    The bucket holds at most ``count`` tokens, so after a pause that many jobs may start at once.
    """

    count: int
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if not _is_count(self.count) or not _is_number(self.seconds) or self.seconds <= 0:
            raise PluginContractError(f"{self}: count is a whole number, at least 1, and seconds are above 0")


@dataclass(frozen=True, slots=True)
class Service:
    """What a plugin offers under a service key; its queue has the same name.

    ``handler`` is ``handler(job)`` or ``handler(job, app)``. It returns ``None`` or a JSON value (success), ``Retry``,
    ``Snooze`` or ``DeadLetter``; an exception means that the attempt failed.

    ``isolation`` says where it runs: ``loop`` takes an ``async def``, ``thread`` a plain ``def``, ``process`` either,
    in a child of its own; ``memory_mib`` limits the memory of such a child. At most ``concurrency`` jobs of the key run
    at a time on one node and ``cluster_concurrency`` in the whole cluster, and no more start than ``rate`` allows. An
    attempt longer than ``timeout_seconds`` is cancelled and counts as failed. ``on_crash`` says what becomes of a job
    whose node or child died under it: ``retry`` runs it again, apart in a child, uncharged; ``hold`` keeps it as a
    dead letter for a person to decide; ``fail`` counts as a failed attempt.
    """

    key: str
    handler: Handler
    concurrency: int = field(default=10, kw_only=True)
    cluster_concurrency: int | None = field(default=None, kw_only=True)
    rate: Rate | None = field(default=None, kw_only=True)
    timeout_seconds: float | None = field(default=None, kw_only=True)
    backoff: Backoff = field(default=Backoff(), kw_only=True)
    isolation: Isolation = field(default="loop", kw_only=True)
    memory_mib: int | None = field(default=None, kw_only=True)
    on_crash: OnCrash = field(default="retry", kw_only=True)

    def __post_init__(self) -> None:
        if not is_key(self.key):
            raise PluginContractError(f"service {self.key!r}: not a service key", hint="a key reads noun:verb")
        counts = {"concurrency": self.concurrency, "cluster_concurrency": self.cluster_concurrency}
        for name, count in counts.items():
            if not _is_count(count) and (count is not None or name == "concurrency"):
                raise PluginContractError(f"service {self.key}: {name} is {count!r}", hint="a whole number, at least 1")
        seconds = self.timeout_seconds
        if seconds is not None and not (_is_number(seconds) and seconds > 0):
            raise PluginContractError(f"service {self.key}: timeout_seconds is {seconds!r}", hint="above 0, or None")
        self._check_words()

    def _check_words(self) -> None:
        if self.rate is not None and not isinstance(self.rate, Rate):
            raise PluginContractError(f"service {self.key}: rate is {self.rate!r}", hint="a Rate, or None")
        if not isinstance(self.backoff, Backoff):
            raise PluginContractError(f"service {self.key}: backoff is {self.backoff!r}", hint="a Backoff")
        if self.isolation not in ("loop", "thread", "process"):
            raise PluginContractError(
                f"service {self.key}: isolation is {self.isolation!r}", hint="loop, thread or process"
            )
        if self.on_crash not in ("retry", "hold", "fail"):
            raise PluginContractError(f"service {self.key}: on_crash is {self.on_crash!r}", hint="retry, hold or fail")
        if self.memory_mib is not None and not (_is_count(self.memory_mib) and self.isolation == "process"):
            raise PluginContractError(
                f"service {self.key}: memory_mib is {self.memory_mib!r}",
                hint='a whole number, at least 1, and with isolation="process" only',
            )


@dataclass(frozen=True, slots=True)
class JobType:
    """What every node must know of the jobs under a key: how their payload looks, and how they are treated.

    ``payload`` is a pydantic model, or None for any JSON object. ``attempts`` is how often a job may fail before it
    becomes a dead letter. Lower ``priority`` runs first. ``unique_seconds`` is how long after its end a job's
    idempotency key is kept. A node that should serve a ``required`` key and cannot exits 70 at start.
    """

    key: str
    payload: "type[BaseModel] | None" = field(default=None, kw_only=True)
    attempts: int = field(default=5, kw_only=True)
    priority: int = field(default=0, kw_only=True)
    unique_seconds: float = field(default=86400, kw_only=True)
    required: bool = field(default=False, kw_only=True)
    description: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not is_key(self.key):
            raise PluginContractError(f"job type {self.key!r}: not a service key", hint="a key reads noun:verb")
        if not _is_count(self.attempts):
            raise PluginContractError(
                f"job type {self.key}: attempts is {self.attempts!r}", hint="a whole number, at least 1"
            )
        if not _is_count(self.priority, least=-MOST - 1):
            raise PluginContractError(
                f"job type {self.key}: priority is {self.priority!r}", hint="an integer of 32 bits; lower runs first"
            )
        if not _is_number(self.unique_seconds) or self.unique_seconds < 0:
            raise PluginContractError(
                f"job type {self.key}: unique_seconds is {self.unique_seconds!r}", hint="0 or more, ten years at most"
            )
