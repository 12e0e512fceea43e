"""The queue's numbers of one node, as Prometheus reads them."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)


class QueueMetrics:
    """Counts what this node enqueues, starts, finishes and frees. Made once per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._enqueued = counter("nocohost_jobs_enqueued", "Jobs enqueued by this node.", "key")
        self._started = counter("nocohost_jobs_started", "Attempts started.", "key")
        self._finished = counter("nocohost_jobs_finished", "Attempts ended, by what became of the job.", "key", "state")
        self._attempts = counter("nocohost_job_attempts", "Attempts charged.", "key")
        self._expired = counter("nocohost_leases_expired", "Jobs that this node freed from lost nodes.", "key")
        self._wait = Histogram(
            "nocohost_job_wait_seconds",
            "From due to started, by the database's clock.",
            ("key",),
            registry=registry,
            buckets=SECONDS,
        )
        self._run = Histogram(
            "nocohost_job_run_seconds", "How long an attempt ran.", ("key",), registry=registry, buckets=SECONDS
        )
        self._slots = Gauge("nocohost_worker_slots", "Slots of this node.", ("key", "state"), registry=registry)

    def enqueued(self, key: str) -> None:
        """Count a job that this node enqueued."""
        self._enqueued.labels(key).inc()

    def started(self, key: str, wait_seconds: float) -> None:
        """Count an attempt that starts after its job was due for so long."""
        self._started.labels(key).inc()
        self._wait.labels(key).observe(max(wait_seconds, 0.0))

    def finished(self, key: str, state: str, run_seconds: float, *, charged: bool) -> None:
        """Count an attempt that ended; ``state`` says what became of the job."""
        self._finished.labels(key, state).inc()
        self._run.labels(key).observe(run_seconds)
        if charged:
            self._attempts.labels(key).inc()

    def freed(self, key: str) -> None:
        """Count an orphan that this node freed."""
        self._expired.labels(key).inc()

    def watch_slots(self, key: str, slots: int, busy: Callable[[], int]) -> None:
        """Show how many of a key's slots are busy and free whenever somebody reads."""
        self._slots.labels(key, "busy").set_function(lambda: float(busy()))
        self._slots.labels(key, "free").set_function(lambda: float(slots - busy()))
