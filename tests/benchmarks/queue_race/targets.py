"""What the queue must reach, beside the others in the same run."""

from collections.abc import Iterator
from dataclasses import dataclass

from queue_race.figures import Figures, median_of

SQLITE, RAW, PGQUEUER, HUEY = "nocohost-sqlite", "raw", "pgqueuer", "huey"


@dataclass(frozen=True)
class Target:
    """A bound on a number of ours, or on its ratio to ``beside``: a contestant and the number of it.

    A ``beside`` without a contestant is a number of our own.
    """

    text: str
    figure: str
    limit: float
    beside: tuple[str, str] | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was reached of one target; ``holds`` is None when something was not measured."""

    contestant: str
    target: Target
    value: float | None

    @property
    def holds(self) -> bool | None:
        """Tell whether the target was reached."""
        if self.value is None:
            return None
        return self.value <= self.target.limit if self.target.at_most else self.value >= self.target.limit


ON_POSTGRESQL = (
    Target("drain, one node, of pgqueuer's", "drain 1", 1.5, (PGQUEUER, "drain 1")),
    Target("drain, one node, of the raw yardstick's", "drain 1", 0.5, (RAW, "drain 1")),
    Target("drain, two nodes, of pgqueuer's two", "drain 2", 1.1, (PGQUEUER, "drain 2")),
    Target("enqueue, one awaiting caller, of pgqueuer's", "enqueue one", 1.0, (PGQUEUER, "enqueue one")),
    Target("enqueue, 100 coroutines, of its own one caller's", "enqueue 100", 8.0, ("", "enqueue one")),
    Target("enqueue, many at once, of pgqueuer's", "enqueue many", 1.0, (PGQUEUER, "enqueue many")),
    Target("latency p50, ms", "latency p50", 4.0, at_most=True),
    Target("latency p99, ms", "latency p99", 10.0, at_most=True),
    Target("latency p50, of pgqueuer's", "latency p50", 1.0, (PGQUEUER, "latency p50"), at_most=True),
    Target("latency p99, of pgqueuer's", "latency p99", 1.0, (PGQUEUER, "latency p99"), at_most=True),
    Target("drain beside ballast, of the empty drain", "ballast", 0.8),
    Target("killed process, job runs elsewhere, p50, s", "killed, p50", 6.0, at_most=True),
    Target("killed process, longest, s", "killed, longest", 20.0, at_most=True),
    Target("frozen process, longest, s", "frozen, longest", 20.0, at_most=True),
    Target("exec to the first job, s", "start", 1.0, at_most=True),
    Target("resident memory of an idle node, MiB", "memory", 90.0, at_most=True),
)
ON_SQLITE = (
    Target("drain, of huey's", "drain 1", 3.0, (HUEY, "drain 1")),
    Target("latency p50 across two processes, ms", "latency p50", 15.0, at_most=True),
)


def judge(figures: Figures) -> list[Verdict]:
    """Hold what was measured against the targets; what was not measured at all is left out."""
    ours = [name for name in figures if name.startswith("nocohost")]
    return [
        verdict
        for name in ours
        for target in (ON_SQLITE if name == SQLITE else ON_POSTGRESQL)
        for verdict in _judge(figures, name, target)
    ]


def _judge(figures: Figures, name: str, target: Target) -> Iterator[Verdict]:
    if target.figure not in figures[name]:
        return
    value = median_of(figures, name, target.figure)
    if target.beside is not None:
        other, figure = target.beside
        if other and figure not in figures.get(other, {}):
            return
        base = median_of(figures, other or name, figure)
        value = None if value is None or not base else value / base
    yield Verdict(name, target, value)
