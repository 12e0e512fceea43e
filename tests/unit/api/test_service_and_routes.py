"""Services, job types and routes refuse at once what could not work later."""

import pytest

from nocohost.api.errors import PluginContractError
from nocohost.api.routes import Route, route
from nocohost.api.service import Backoff, JobType, Rate, Service


async def handler(job):
    """Do nothing."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: Service("shop", handler),
        lambda: Service("shop:invoice", handler, concurrency=0),
        lambda: Service("shop:invoice", handler, concurrency="4"),
        lambda: Service("shop:invoice", handler, concurrency=2.5),
        lambda: Service("shop:invoice", handler, concurrency=True),
        lambda: Service("shop:invoice", handler, concurrency=2**31),
        lambda: Service("shop:invoice", handler, cluster_concurrency=1.5),
        lambda: Service("shop:invoice", handler, rate=(100, 60)),
        lambda: Service("shop:invoice", handler, backoff=5),
        lambda: Service("shop:invoice", handler, isolation="process", memory_mib="256"),
        lambda: Service("shop:invoice", handler, timeout_seconds=0),
        lambda: Service("shop:invoice", handler, timeout_seconds="30"),
        lambda: Service("shop:invoice", handler, timeout_seconds=float("nan")),
        lambda: Rate(0),
        lambda: Rate(1.5),
        lambda: Rate(1, seconds=float("inf")),
        lambda: Rate(1, seconds=0),
        lambda: JobType("Shop:invoice"),
        lambda: JobType("shop:invoice", attempts=0),
        lambda: JobType("shop:invoice", attempts=2.5),
        lambda: JobType("shop:invoice", priority="high"),
        lambda: JobType("shop:invoice", priority=2**31),
        lambda: JobType("shop:invoice", unique_seconds=-1),
        lambda: JobType("shop:invoice", unique_seconds=float("inf")),
        lambda: Backoff(seconds=-1),
        lambda: Backoff(seconds=float("nan")),
        lambda: Backoff(cap_seconds="1h"),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(jitter=1.5),
        lambda: route("GET", "/shop", handler),
        lambda: route("GET", "/shop", handler, permission="shop.read", public=True),
        lambda: route("GET", "/shop", handler, permission="read"),
        lambda: route("FETCH", "/shop", handler, public=True),
        lambda: route("GET", "shop", handler, public=True),
        lambda: route("GET", "/api", handler, public=True),
        lambda: route("GET", "/api/v1/shop", handler, public=True),
        lambda: route("GET", "/%61pi/v1/shop", handler, public=True),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(PluginContractError):
        make()


def test_a_route_says_who_may_call_it():
    assert route("GET", "/shop", handler, permission="shop.read") == Route("GET", "/shop", handler, "shop.read")
    assert route("GET", "/apis", handler, public=True).public


def test_the_backoff_doubles_up_to_its_cap():
    backoff = Backoff(seconds=2, factor=2, cap_seconds=60, jitter=0)
    assert [backoff.delay_seconds(failures) for failures in (0, 1, 2, 3, 6, 10_000)] == [2, 2, 4, 8, 60, 60]


def test_the_jitter_spreads_both_ways():
    backoff = Backoff(seconds=10, jitter=0.2)
    assert backoff.delay_seconds(1, lambda: 0.0) == pytest.approx(8)
    assert backoff.delay_seconds(1, lambda: 0.5) == pytest.approx(10)
    assert backoff.delay_seconds(1, lambda: 1.0) == pytest.approx(12)
