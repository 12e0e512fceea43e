"""What Prometheus reads: this node's own numbers, and on request those of the whole cluster."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from nocohost.api.app import Node
from nocohost.api.mode import WorkerMode
from nocohost.api.version import VERSION
from nocohost.store.coverage import KeyCoverage

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Observe = Callable[[str, int, float], None]
"""``observe(method, status, seconds)`` counts one answered request."""


class RequestMetrics(Collector):
    """Counts and times the requests of one node.

    The event loop's thread alone counts and collects, so this needs none of the locks of ``Histogram``, which cost
    a request more than all other checks together.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._series: dict[tuple[str, str, int], _Times] = {}
        registry.register(self)

    def for_route(self, route: str) -> Observe:
        """Return what counts the requests of one route; ``route`` is its pattern, never a path."""
        counted: dict[tuple[str, int], _Times] = {}

        def observe(method: str, status: int, seconds: float) -> None:
            times = counted.get((method, status))
            if times is None:
                times = counted[method, status] = self._series.setdefault((route, method, status), _Times())
            times.buckets[bisect_left(BUCKETS, seconds)] += 1
            times.seconds += seconds

        return observe

    def collect(self) -> Iterable[Metric]:
        """Return the histogram that Prometheus reads."""
        family = HistogramMetricFamily(
            "nocohost_http_request_seconds",
            "Time from the end of the head of a request to its response.",
            labels=("route", "method", "status"),
        )
        for (route, method, status), times in self._series.items():
            counts = zip((*map(floatToGoString, BUCKETS), "+Inf"), accumulate(times.buckets), strict=True)
            family.add_metric((route, method, str(status)), list(counts), times.seconds)
        return (family,)


class HookMetrics:
    """Counts and times the calls of the hooks that plugins publish. Made once per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("hook", "plugin")
        self._seconds = Histogram(
            "nocohost_hook_seconds", "How long an implementation took.", labels, registry=registry, buckets=BUCKETS
        )
        self._errors = Counter("nocohost_hook_errors", "Implementations that raised.", labels, registry=registry)

    def observe(self, hook: str, plugin: str, seconds: float, failed: bool) -> None:
        """Count one call of one implementation."""
        self._seconds.labels(hook, plugin).observe(seconds)
        if failed:
            self._errors.labels(hook, plugin).inc()


class _Times:
    """How many requests fell into each bucket, and how long they took together."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


def describe_node(registry: CollectorRegistry, node: Node, mode: WorkerMode, plugins: Mapping[str, bool]) -> None:
    """Add who this node is: build, worker mode, and for each plugin whether it is up here (not quarantined)."""
    Info("nocohost_build", "The version of nocohost.", registry=registry).info({"version": VERSION})
    Info("nocohost_node", "Who this node is and what it serves.", registry=registry).info(
        {"node": node.id, "name": node.name, "mode": mode.canonical}
    )
    up = Gauge("nocohost_plugin_up", "1 while the plugin is not quarantined here.", ("plugin",), registry=registry)
    for plugin, is_up in plugins.items():
        up.labels(plugin).set(is_up)


def exposition(registry: CollectorRegistry) -> bytes:
    """Return everything in ``registry`` in Prometheus' text format."""
    return generate_latest(registry)


def cluster_exposition(queues: Sequence[KeyCoverage]) -> bytes:
    """Return the cluster's numbers in Prometheus' text format; to be scraped once, not from every node."""
    registry = CollectorRegistry()
    registry.register(_ClusterCollector(queues))
    return generate_latest(registry)


class _ClusterCollector(Collector):
    def __init__(self, queues: Sequence[KeyCoverage]) -> None:
        self._queues = queues

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("nocohost_queue_jobs", "Jobs that are not over.", labels=("key", "state"))
        oldest = GaugeMetricFamily(
            "nocohost_queue_oldest_seconds", "How long the oldest due job of the key waits.", labels=("key",)
        )
        servers = GaugeMetricFamily("nocohost_key_servers", "Live nodes that serve the key.", labels=("key",))
        unserved = GaugeMetricFamily(
            "nocohost_unserved_jobs", "Due jobs of a key that no live node serves and nobody paused.", labels=("key",)
        )
        for queue in self._queues:
            jobs.add_metric((queue.key, "pending"), queue.pending)
            jobs.add_metric((queue.key, "running"), queue.running)
            oldest.add_metric((queue.key,), queue.oldest_seconds)
            servers.add_metric((queue.key,), len(queue.nodes))
            unserved.add_metric((queue.key,), queue.unserved)
        return (jobs, oldest, servers, unserved)
