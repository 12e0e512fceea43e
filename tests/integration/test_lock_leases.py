"""The lease of a lock: renewed while its block runs, and what a holder is told that has lost it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from integration.lock_bench import NAME, Deaf, deaf_nodes, row_of, steal
from integration.queue_bench import until
from structlog.testing import LogCapture

from nocohost.api.errors import LockLostError
from nocohost.api.log import Log
from nocohost.store.database import SqlDatabase
from nocohost.testing.clock import FakeClock


@pytest.fixture
async def deaf(database: SqlDatabase, log: Log) -> AsyncIterator[Deaf]:
    async with deaf_nodes(database, log) as make:
        yield make


class Story:
    """A holder on a clock that a test turns, on SQLite, whose database follows it."""

    def __init__(self, deaf: Deaf, clock: FakeClock) -> None:
        self.node = deaf(clock)
        self.clock = clock
        self.told: list[str] = []

    async def hold(self, inside: Callable[[], Awaitable[object]]) -> None:
        try:
            async with self.node.acquire(NAME) as lock:
                self.told.append("held")
                await inside()
                self.told.append("left")
        except LockLostError:
            self.told.append("lost")
            assert not lock.is_held


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def for_ever() -> None:
    await asyncio.Event().wait()


async def begun(story: Story, inside: Callable[[], Awaitable[object]] = for_ever) -> "asyncio.Task[None]":
    task = asyncio.create_task(story.hold(inside))

    async def is_held() -> bool:
        return story.told == ["held"]

    await until(is_held)
    return task


async def let_pass(clock: FakeClock, database: SqlDatabase, seconds: float) -> None:
    """Let time pass in small steps, and the renewals of each step come to their end."""
    for _ in range(int(seconds)):
        clock.advance(1.0)
        before = await row_of(database)
        for _ in range(20):
            await asyncio.sleep(0.001)
            if await row_of(database) != before:
                break


async def test_a_lease_is_renewed_for_as_long_as_the_block_runs(deaf: Deaf, database: SqlDatabase) -> None:
    clock = FakeClock()
    story = Story(deaf, clock)
    task = await begun(story)
    first = (await row_of(database)).lease_until
    await let_pass(clock, database, 60)
    row = await row_of(database)
    assert row.fence == 1
    assert database.dialect == "postgresql" or row.lease_until > first
    assert story.told == ["held"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_holder_that_was_taken_over_is_cancelled_and_told(
    deaf: Deaf, database: SqlDatabase, log_lines: LogCapture, clock: FakeClock
) -> None:
    story = Story(deaf, clock)
    task = await begun(story)
    await steal(database)
    stolen = await row_of(database)
    clock.advance(5.1)
    await asyncio.wait_for(task, 10)
    assert story.told == ["held", "lost"]
    await story.node.close()
    assert (await row_of(database)).holder == stolen.holder
    assert "lock.lost" in [entry["event"] for entry in log_lines.entries]


async def test_a_holder_whose_database_is_away_is_cancelled_before_the_lease_ends(
    deaf: Deaf, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(deaf, clock)
    task = await begun(story)

    async def hang(*arguments: object, **named: object) -> bool:
        await for_ever()
        return True

    monkeypatch.setattr("nocohost.store.locks.renew_lock", hang)
    for _ in range(12):
        assert not task.done()
        clock.advance(1.0)
        for _ in range(20):
            await asyncio.sleep(0.001)
    assert story.told == ["held"]
    clock.advance(1.0)  # the 13th of 15 seconds
    await asyncio.wait_for(task, 10)
    assert story.told == ["held", "lost"]


async def test_a_loss_is_told_once_the_block_ends_if_it_does_not_listen(deaf: Deaf, clock: FakeClock) -> None:
    story = Story(deaf, clock)

    async def inside() -> None:
        clock.advance(100.0)  # and no await: the cancellation comes too late for the block

    await asyncio.wait_for(asyncio.create_task(story.hold(inside)), 10)
    assert story.told in (["held", "left"], ["held", "left", "lost"])
    async with deaf().acquire(NAME, wait_seconds=0) as lock:
        assert lock.fence == 2


async def test_a_block_that_overslept_is_told_if_somebody_took_the_lock(deaf: Deaf, database: SqlDatabase) -> None:
    clock = FakeClock()
    story = Story(deaf, clock)

    async def inside() -> None:
        await steal(database)
        clock.advance(100.0)

    task = asyncio.create_task(story.hold(inside))
    await asyncio.wait_for(task, 10)
    assert story.told == ["held", "left", "lost"]
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one_even_when_the_lock_is_lost(
    deaf: Deaf, database: SqlDatabase, clock: FakeClock
) -> None:
    story = Story(deaf, clock)
    task = await begun(story)
    await steal(database)
    clock.advance(5.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert story.told == ["held"]
