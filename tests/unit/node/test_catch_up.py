"""What becomes of the ticks that have come: each policy, on time and after an outage."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocohost.api.schedule import CatchUp, Schedule
from nocohost.node.catch_up import Firing, firing, lateness
from nocohost.node.ticks import Ticks, read_ticks

START = datetime(2026, 5, 4, tzinfo=UTC)


def every(seconds: float) -> Ticks:
    return read_ticks(Schedule("test", "shop:mail", {}, interval_seconds=seconds))


def fire(policy: CatchUp, step: float, late: float, limit: int = 10_000) -> tuple[list[float], float | None]:
    """Which ticks fire ``late`` seconds after the first, and which one is waited for, in seconds since the first."""
    found = firing(every(step), policy, START, START + timedelta(seconds=late), limit)
    waits = None if found.next_at is None else (found.next_at - START).total_seconds()
    return [(tick - START).total_seconds() for tick in found.ticks], waits


@pytest.mark.parametrize("policy", ["skip", "once", "all"])
def test_a_tick_that_is_on_time_fires_and_one_to_come_does_not(policy: CatchUp) -> None:
    assert fire(policy, 60, 0) == ([0], 60)
    assert fire(policy, 60, 0.3) == ([0], 60)
    assert fire(policy, 60, -0.001) == ([], 0)


def test_after_an_hour_without_nodes_skip_fires_what_is_not_too_late() -> None:
    assert fire("skip", 60, 3600) == ([3600], 3660)
    assert fire("skip", 60, 3630) == ([3600], 3660)
    assert fire("skip", 60, 3659.5)[0] == [3600]
    assert fire("skip", 1, 300) == ([float(second) for second in range(241, 301)], 301)
    assert fire("skip", 86_400, 7200) == ([], 86_400)
    assert fire("skip", 86_400, 3599) == ([0], 86_400)
    assert fire("skip", 3600, 300) == ([0], 3600)
    assert fire("skip", 3600, 400) == ([], 3600)
    assert fire("skip", 3600, 10 * 3600) == ([36_000], 39_600)


def test_after_an_hour_without_nodes_once_fires_the_latest_and_all_fires_each() -> None:
    assert fire("once", 60, 3630) == ([3600], 3660)
    assert fire("all", 60, 3630) == ([60.0 * minute for minute in range(61)], 3660)


def test_many_ticks_fire_in_pages_that_join() -> None:
    first, left = fire("all", 60, 3630, limit=25)
    assert (len(first), left) == (25, 25 * 60)
    first, left = fire("skip", 1, 300, limit=25)
    assert (first[0], len(first), left) == (241, 25, 266)


@pytest.mark.parametrize(("step", "seconds"), [(1, 60), (60, 60), (900, 90), (3600, 360), (86_400, 3600)])
def test_how_late_a_tick_may_be(step: float, seconds: float) -> None:
    assert lateness(every(step), START) == timedelta(seconds=seconds)


@given(
    policy=st.sampled_from(["skip", "once", "all"]),
    step=st.integers(1, 4000),
    looks=st.lists(st.integers(0, 9000), min_size=1, max_size=6),
    limit=st.integers(1, 50),
)
def test_however_often_somebody_looks_no_tick_fires_twice_or_early(
    policy: CatchUp, step: int, looks: list[int], limit: int
) -> None:
    ticks, now = every(step), START
    first = waiting = ticks.after(START - timedelta(microseconds=1)) or START
    fired: list[datetime] = []
    for seconds in looks:
        now += timedelta(seconds=seconds)
        while waiting <= now:
            found: Firing = firing(ticks, policy, waiting, now, limit)
            assert found.next_at is not None
            assert found.next_at > waiting
            fired += found.ticks
            waiting = found.next_at
    assert fired == sorted(set(fired))
    assert all(first <= tick <= now for tick in fired)
    if policy == "all":
        assert len(fired) == (now - first) // timedelta(seconds=step) + 1
