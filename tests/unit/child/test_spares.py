"""When spare children are started, and when they are let go."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from nocohost.child.spares import IDLE_SECONDS, Spares
from nocohost.testing.clock import FakeClock

KEY, OTHER = "sheet:fold", "sheet:cut"


class StandInChild:
    """A child without a process, ready at once unless told otherwise."""

    def __init__(self, key: str | None, *, is_ready: bool = True) -> None:
        self.key = key
        self.pid = 1
        self.ready = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if is_ready:
            self.ready.set()

    @property
    def is_alive(self) -> bool:
        return not self.ended.done()

    def signal(self, number: int) -> None:
        self.ended.set_result(-number)


class Nursery:
    """Spares under test, and every child they have started."""

    def __init__(self, clock: FakeClock, *, first_is_ready: bool = True) -> None:
        self.started: list[Any] = []
        self._first_is_ready = first_is_ready
        log: Any = CapturingLogger()
        self.spares = Spares(self._start, 1, KEY, clock=clock, log=log)

    def _start(self, key: str | None) -> Any:
        self.started.append(StandInChild(key, is_ready=bool(self.started) or self._first_is_ready))
        return self.started[-1]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_nursery(clock: FakeClock) -> Callable[..., Nursery]:
    return lambda **options: Nursery(clock, **options)


async def test_no_spare_is_started_before_there_is_work(make_nursery: Callable[..., Nursery]) -> None:
    nursery = make_nursery()
    nursery.spares.open()
    await settle()
    assert nursery.started == []
    first = nursery.spares.take(KEY)
    await settle()
    assert [child for child in nursery.started if child is not first] == nursery.spares.waiting
    assert nursery.spares.take(KEY) in nursery.started[1:]
    await nursery.spares.close()


async def test_work_for_another_key_starts_no_spare(make_nursery: Callable[..., Nursery]) -> None:
    nursery = make_nursery()
    nursery.spares.open()
    nursery.spares.take(OTHER)
    await settle()
    assert nursery.spares.waiting == []
    await nursery.spares.close()


async def test_the_child_that_an_order_waits_for_comes_before_the_spare(make_nursery: Callable[..., Nursery]) -> None:
    nursery = make_nursery(first_is_ready=False)
    nursery.spares.open()
    first: Any = nursery.spares.take(KEY)
    await settle()
    assert nursery.started == [first]
    first.ready.set()
    await settle()
    assert len(nursery.spares.waiting) == 1
    await nursery.spares.close()


async def test_a_node_without_work_lets_its_spares_go(make_nursery: Callable[..., Nursery], clock: FakeClock) -> None:
    nursery = make_nursery()
    nursery.spares.open()
    nursery.spares.take(KEY)
    await settle()
    (spare,) = nursery.spares.waiting
    clock.advance(IDLE_SECONDS - 1)
    await settle()
    assert nursery.spares.waiting == [spare]
    clock.advance(2)
    await settle()
    assert nursery.spares.waiting == []
    assert not spare.is_alive
    nursery.spares.take(KEY)
    await settle()
    assert len(nursery.spares.waiting) == 1
    await nursery.spares.close()
