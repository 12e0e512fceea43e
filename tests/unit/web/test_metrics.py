"""What Prometheus reads."""

from types import SimpleNamespace

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from nocohost.api.mode import WorkerMode
from nocohost.store.coverage import KeyCoverage
from nocohost.store.keys import KeyRow
from nocohost.web.metrics import HookMetrics, RequestMetrics, cluster_exposition, describe_node, exposition


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_route_method_and_status():
    registry = CollectorRegistry()
    observe = RequestMetrics(registry).for_route("/shop/{order}")
    for seconds in (0.001, 0.005, 0.02, 3.0, 11.0):
        observe("GET", 200, seconds)
    observe("POST", 422, 0.3)
    found = samples(exposition(registry))
    labels = (("method", "GET"), ("route", "/shop/{order}"), ("status", "200"))
    assert found["nocohost_http_request_seconds_count", labels] == 5
    assert round(found["nocohost_http_request_seconds_sum", labels], 3) == 14.026
    buckets = {
        dict(label)["le"]: value
        for (name, label), value in found.items()
        if name.endswith("_bucket") and ("method", "GET") in label
    }
    assert buckets["0.005"] == 2
    assert buckets["0.025"] == 3
    assert buckets["2.5"] == 3
    assert buckets["10.0"] == 4
    assert buckets["+Inf"] == 5
    assert found["nocohost_http_request_seconds_count", (("method", "POST"), *labels[1:2], ("status", "422"))] == 1


def test_two_routes_of_one_pattern_are_counted_together():
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry)
    metrics.for_route("/a")("GET", 200, 0.1)
    metrics.for_route("/a")("GET", 200, 0.1)
    labels = (("method", "GET"), ("route", "/a"), ("status", "200"))
    assert samples(exposition(registry))["nocohost_http_request_seconds_count", labels] == 2


def test_a_node_tells_who_it_is():
    registry = CollectorRegistry()
    node = SimpleNamespace(id="boot-1", name="left")
    describe_node(registry, node, WorkerMode(serves_all=False), {"shop": True, "broken": False})
    found = samples(exposition(registry))
    assert found["nocohost_node_info", (("mode", "!"), ("name", "left"), ("node", "boot-1"))] == 1
    assert found["nocohost_plugin_up", (("plugin", "shop"),)] == 1
    assert found["nocohost_plugin_up", (("plugin", "broken"),)] == 0
    assert any(name == "nocohost_build_info" for name, _ in found)


def test_calls_of_published_hooks_are_timed_and_failures_counted():
    registry = CollectorRegistry()
    metrics = HookMetrics(registry)
    metrics.observe("invoice_surcharge", "express", 0.2, False)
    metrics.observe("invoice_surcharge", "express", 0.3, True)
    found = samples(exposition(registry))
    labels = (("hook", "invoice_surcharge"), ("plugin", "express"))
    assert found["nocohost_hook_seconds_count", labels] == 2
    assert found["nocohost_hook_seconds_sum", labels] == 0.5
    assert found["nocohost_hook_errors_total", labels] == 1


def test_the_cluster_is_told_by_key():
    invoice = KeyCoverage("shop:invoice", "served", ("a",), 3, 3, 2, 0, 41.5, KeyRow("shop:invoice"))
    mail = KeyCoverage("shop:mail", "gone", (), 5, 4, 0, 0, 0.0, KeyRow("shop:mail"))
    text = cluster_exposition([invoice, mail])
    found = samples(text)
    assert found["nocohost_queue_jobs", (("key", "shop:invoice"), ("state", "pending"))] == 3
    assert found["nocohost_queue_jobs", (("key", "shop:invoice"), ("state", "running"))] == 2
    assert found["nocohost_queue_oldest_seconds", (("key", "shop:invoice"),)] == 41.5
    assert found["nocohost_key_servers", (("key", "shop:invoice"),)] == 1
    assert found["nocohost_key_servers", (("key", "shop:mail"),)] == 0
    assert found["nocohost_unserved_jobs", (("key", "shop:invoice"),)] == 0
    assert found["nocohost_unserved_jobs", (("key", "shop:mail"),)] == 4
