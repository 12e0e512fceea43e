"""The clock of a real node."""

from datetime import UTC

from nocohost.api.clock import Clock
from nocohost.node.clock import SystemClock


def test_it_is_a_clock() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


async def test_sleeping_for_nothing_or_less_yields_once() -> None:
    clock = SystemClock()
    await clock.sleep(0)
    await clock.sleep(-5)
