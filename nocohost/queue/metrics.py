"""The queue's numbers of one node, as Prometheus reads them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)


class Times:
    """A histogram: how many observations fell into each bucket, and their sum."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds

    def add_to(self, family: HistogramMetricFamily, key: str) -> None:
        """Add this histogram to what Prometheus reads."""
        counts = zip((*map(floatToGoString, SECONDS), "+Inf"), accumulate(self.buckets), strict=True)
        family.add_metric((key,), list(counts), self.seconds)


class KeyNumbers:
    """The numbers of one service key."""

    __slots__ = ("attempts", "ends", "enqueues", "frees", "run", "starts", "wait")

    def __init__(self) -> None:
        self.enqueues = self.starts = self.attempts = self.frees = 0
        self.ends: Counter[str] = Counter()
        self.wait = Times()
        self.run = Times()

    def enqueued(self, jobs: int) -> None:
        """Count jobs that this node enqueued."""
        self.enqueues += jobs

    def started(self, wait_seconds: float) -> None:
        """Count an attempt that starts after its job was due for so long."""
        self.starts += 1
        self.wait.observe(max(wait_seconds, 0.0))

    def finished(self, state: str, run_seconds: float, *, charged: bool) -> None:
        """Count an attempt that ended; ``state`` says what became of the job."""
        self.ends[state] += 1
        self.run.observe(run_seconds)
        self.attempts += charged

    def freed(self, state: str | None = None, *, charged: bool = False) -> None:
        """Count an orphan that this node freed; ``state`` says what became of it if it does not simply run again."""
        self.frees += 1
        self.attempts += charged
        if state is not None:
            self.ends[state] += 1


class QueueMetrics(Collector):
    """Counts what this node enqueues, starts, finishes and frees. Made once per registry.

    The event loop's thread alone counts and collects, so this needs none of the locks of ``Counter`` and ``Histogram``,
    which would cost a job more than its own bookkeeping.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._keys: dict[str, KeyNumbers] = {}
        self._slots: dict[str, tuple[int, Callable[[], int]]] = {}
        registry.register(self)

    def of(self, key: str) -> KeyNumbers:
        """Return what counts for ``key``."""
        return self._keys.setdefault(key, KeyNumbers())

    def watch_slots(self, key: str, slots: int, busy: Callable[[], int]) -> None:
        """Show how many of a key's slots are busy and free whenever somebody reads."""
        self._slots[key] = (slots, busy)
        self.of(key)  # what is served shows from the start, as 0: a counter that begins at 1 has no rise to see

    def collect(self) -> Iterable[Metric]:
        """Return what Prometheus reads."""
        enqueued = CounterMetricFamily("nocohost_jobs_enqueued", "Jobs enqueued by this node.", labels=("key",))
        started = CounterMetricFamily("nocohost_jobs_started", "Attempts started.", labels=("key",))
        finished = CounterMetricFamily(
            "nocohost_jobs_finished", "Attempts ended, by what became of the job.", labels=("key", "state")
        )
        attempts = CounterMetricFamily("nocohost_job_attempts", "Attempts charged.", labels=("key",))
        expired = CounterMetricFamily(
            "nocohost_leases_expired", "Jobs that this node freed from lost nodes.", labels=("key",)
        )
        wait = HistogramMetricFamily(
            "nocohost_job_wait_seconds", "From due to started, by the database's clock.", labels=("key",)
        )
        run = HistogramMetricFamily("nocohost_job_run_seconds", "How long an attempt ran.", labels=("key",))
        slots = GaugeMetricFamily("nocohost_worker_slots", "Slots of this node.", labels=("key", "state"))
        for key, numbers in self._keys.items():
            enqueued.add_metric((key,), numbers.enqueues)
            started.add_metric((key,), numbers.starts)
            attempts.add_metric((key,), numbers.attempts)
            expired.add_metric((key,), numbers.frees)
            numbers.wait.add_to(wait, key)
            numbers.run.add_to(run, key)
            for state, count in numbers.ends.items():
                finished.add_metric((key, state), count)
        for key, (most, busy) in self._slots.items():
            taken = busy()
            slots.add_metric((key, "busy"), taken)
            slots.add_metric((key, "free"), most - taken)
        return (enqueued, started, finished, attempts, expired, wait, run, slots)
