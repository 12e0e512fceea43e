"""The consumer when others misbehave: a handler that does not listen, a node it meets, a database that refuses it."""

import asyncio
from typing import Any

import pytest
from integration.queue_bench import (
    KEY,
    consuming,
    join_node,
    make_consumer,
    make_queue,
    read_job,
    until,
    until_state,
)
from sqlalchemy import insert, select
from structlog.testing import LogCapture

from nocohost.api.errors import ConfigError, StoreConflictError
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.service import Service
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import history, jobs
from nocohost.store.types import db_now
from nocohost.testing.clock import FakeClock


async def test_a_drain_cancels_what_runs_in_time_to_be_through_by_its_deadline(database: SqlDatabase) -> None:
    """Past the deadline the watch ends the process, whatever it has still to close."""
    clock, stubborn = FakeClock(), asyncio.Event()
    begun, cancelled_at = clock.monotonic(), []

    async def handler(job: Job) -> None:
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                cancelled_at.append(clock.monotonic() - begun)

    consumer = make_consumer(database, await join_node(database), Service(KEY, handler), clock=clock)
    running = asyncio.create_task(consumer.run())
    job = await make_queue(database).enqueue(KEY, {})
    consumer.wake()
    await until(lambda: true(consumer.busy == 1))
    draining = asyncio.create_task(consumer.drain(10.0))
    try:
        await pass_time(clock, 8.5)
        assert not cancelled_at
        await pass_time(clock, 0.5)
        await until(lambda: true(cancelled_at))
        await pass_time(clock, 1.0)
        assert await asyncio.wait_for(draining, 10) == 1
        assert cancelled_at[0] == 9.0
        assert (await read_job(database, job.id)).state == "pending"
    finally:
        stubborn.set()
    await asyncio.wait_for(running, 30)


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """Turn the clock once everybody has come to wait for it, and let those go on whose time has come."""
    for turn in (0.0, seconds):
        clock.advance(turn)
        for _ in range(20):
            await asyncio.sleep(0)


async def test_what_was_claimed_before_two_nodes_met_at_a_group_is_not_forgotten(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys with groups are claimed by a statement after that for the others, whose answer is lost with a conflict."""
    claim, met = database.hot.claim, asyncio.Event()

    async def meets(*arguments: Any) -> Any:
        rows = await claim(*arguments)
        if rows and not met.is_set():
            met.set()
            raise StoreConflictError("two nodes met")
        return rows

    async def handler(job: Job) -> None:
        return None

    monkeypatch.setattr(database.hot, "claim", meets)
    async with consuming(make_consumer(database, await join_node(database), Service(KEY, handler))):
        job = await make_queue(database).enqueue(KEY, {})
        row = await until_state(database, job.id, "succeeded")
    assert (met.is_set(), row.attempts, row.fence) == (True, 0, 2)


async def test_a_database_that_refuses_its_user_for_a_while_keeps_no_outcome_and_no_slot(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that was changed is told as a fault of the configuration; somebody mends it, and the node goes on."""
    settle, refusals = database.hot.settle, 3

    async def refused(*arguments: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise ConfigError("the database refuses: user or password is refused")
        return await settle(*arguments)

    async def handler(job: Job) -> None:
        return None

    monkeypatch.setattr(database.hot, "settle", refused)
    node = await join_node(database)
    async with consuming(make_consumer(database, node, Service(KEY, handler, concurrency=1))):
        first, second = [await make_queue(database).enqueue(KEY, {}) for _ in range(2)]
        await until_state(database, first.id, "succeeded")
        await until_state(database, second.id, "succeeded")
    assert not refusals


async def test_an_outcome_that_a_constraint_refuses_keeps_no_other(
    database: SqlDatabase, log: Log, log_lines: LogCapture
) -> None:
    """It would be tried for ever, and every outcome after it with it."""
    go = asyncio.Event()

    async def handler(job: Job) -> None:
        await go.wait()

    consumer = make_consumer(database, await join_node(database), Service(KEY, handler))
    consumer._attempts._settler._log = log
    queue = make_queue(database)
    async with consuming(consumer):
        odd, even = [await queue.enqueue(KEY, {}) for _ in range(2)]
        async with database.begin() as connection:  # as if it were over already
            rows = await connection.execute(select(jobs).where(jobs.c.id == odd.id))
            past = {name: value for name, value in rows.mappings().one().items() if name in history.c}
            await connection.execute(insert(history).values(**past, finished_at=db_now()))
        go.set()
        consumer.wake()
        await until_state(database, even.id, "succeeded")
        await until(lambda: true("job.unwritable" in {line["event"] for line in log_lines.entries}))


async def test_a_database_that_refuses_its_user_does_not_keep_a_drain(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch, log: Log, log_lines: LogCapture
) -> None:
    def refused() -> Any:
        raise ConfigError("the database refuses: user or password is refused")

    async def handler(job: Job) -> None:
        await asyncio.sleep(600)

    consumer = make_consumer(database, await join_node(database), Service(KEY, handler))
    consumer._log = log
    running = asyncio.create_task(consumer.run())
    await make_queue(database).enqueue(KEY, {})
    await until(lambda: true(consumer.busy == 1))
    monkeypatch.setattr(database, "begin", refused)
    assert await consumer.drain(0.0) == 1
    await asyncio.wait_for(running, 30)
    assert [line["event"] for line in log_lines.entries] == ["drain.failed"]


async def true(value: Any) -> Any:
    return value
