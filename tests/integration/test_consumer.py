"""Jobs from enqueue to their end, through the consumer, on both databases."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from integration.queue_bench import (
    KEY,
    NO_WAIT,
    consuming,
    join_node,
    make_consumer,
    make_queue,
    make_sweep,
    read_job,
    until,
    until_state,
)
from pydantic import BaseModel
from sqlalchemy import delete, insert, update

from nocohost.api.errors import FenceLostError
from nocohost.api.job import DeadLetter, Job, Retry, Snooze
from nocohost.api.service import JobType, Service
from nocohost.store.database import SqlDatabase
from nocohost.store.jobs import cancel_job, retry_job
from nocohost.store.nodes import set_node_state
from nocohost.store.schema import history, jobs, limits, nodes


async def run_one(database: SqlDatabase, handler: Callable[[Job], Any], *, attempts: int = 2, **service: Any) -> Any:
    """Enqueue one job, run it to its end, and return its row."""
    job_type = JobType(KEY, attempts=attempts)
    node = await join_node(database)
    offered = Service(KEY, handler, backoff=NO_WAIT, **service)
    async with consuming(make_consumer(database, node, offered, types={KEY: job_type})):
        job = await make_queue(database, job_type).enqueue(KEY, {"order": 1})
        return await until_state(database, job.id, "succeeded", "dead", "cancelled")


@pytest.mark.parametrize("value", [19.0, 12345678901234567891234, 0.1, "19.0", True, [1.0]])
async def test_a_value_comes_back_as_it_was_returned(database: SqlDatabase, value: Any) -> None:
    async def handler(job: Job) -> Any:
        return value

    row = await run_one(database, handler)
    assert (row.value, type(row.value)) == (value, type(value))


async def test_a_job_runs_and_its_value_is_kept(database: SqlDatabase) -> None:
    seen = []

    async def handler(job: Job) -> dict[str, int]:
        seen.append(job)
        await job.progress(1, 2, "lines")
        return {"invoice": job.payload["order"]}

    row = await run_one(database, handler)
    assert (row.state, row.value, row.attempts, row.fence) == ("succeeded", {"invoice": 1}, 0, 1)
    assert row.progress == {"done": 1, "total": 2, "unit": "lines"}
    assert row.finished_at >= row.started_at >= row.enqueued_at
    (job,) = seen
    assert (job.id, job.attempt, job.fence, job.group) == (row.id, 1, 1, None)
    async with database.connect() as connection:
        assert (await connection.execute(jobs.select())).all() == []


async def test_failures_are_charged_until_the_job_is_a_dead_letter(database: SqlDatabase) -> None:
    attempts = []

    async def handler(job: Job) -> None:
        attempts.append(job.attempt)
        raise ValueError("no \x00 such order \ud800")

    row = await run_one(database, handler, attempts=3)
    assert attempts == [1, 2, 3]
    assert (row.state, row.attempts, row.fence) == ("dead", 3, 3)
    assert row.last_error == "ValueError: no \\x00 such order \\ud800"


@pytest.mark.parametrize("crash", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_no_crash_of_a_handler_stops_the_consumer(database: SqlDatabase, crash: BaseException) -> None:
    async def handler(job: Job) -> None:
        if job.attempt == 1:
            raise crash
        if job.attempt == 2:
            sys.exit("bye")

    row = await run_one(database, handler, attempts=3)
    assert (row.state, row.attempts) == ("succeeded", 2)


async def test_outcomes(database: SqlDatabase) -> None:
    outcomes = iter([Snooze(0), Retry(0), Snooze(0.01), DeadLetter("never")])
    attempts = []

    async def handler(job: Job) -> Any:
        attempts.append((job.attempt, job.fence))
        return next(outcomes)

    row = await run_one(database, handler, attempts=3)
    assert attempts == [(1, 1), (1, 2), (2, 3), (2, 4)]
    assert (row.state, row.last_error, row.attempts) == ("dead", "never", 1)


async def test_a_value_that_is_not_json_is_a_failed_attempt(database: SqlDatabase) -> None:
    async def handler(job: Job) -> Any:
        return {"total": float("nan")}

    row = await run_one(database, handler, attempts=1)
    assert row.state == "dead"
    assert "total is nan" in row.last_error


async def test_a_timeout_is_charged_and_cancels_the_handler(database: SqlDatabase) -> None:
    cancelled = []

    async def handler(job: Job) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(job.attempt)
            raise

    row = await run_one(database, handler, attempts=2, timeout_seconds=0.05)
    assert cancelled == [1, 2]
    assert (row.state, row.last_error) == ("dead", "timeout: the attempt took longer than 0.05 s")


async def test_a_payload_that_no_longer_fits_is_a_dead_letter(database: SqlDatabase) -> None:
    class Invoice(BaseModel):
        order: int

    async def handler(job: Job) -> None:
        raise AssertionError("never called")

    node = await join_node(database)
    job = await make_queue(database).enqueue(KEY, {"order": "many"})
    types = {KEY: JobType(KEY, payload=Invoice)}
    async with consuming(make_consumer(database, node, Service(KEY, handler), types=types)):
        row = await until_state(database, job.id, "dead")
    assert "order: Input should be a valid integer" in row.last_error


async def test_a_running_job_is_cancelled_on_request_and_may_be_retried(database: SqlDatabase) -> None:
    started = asyncio.Event()

    async def handler(job: Job) -> None:
        started.set()
        if job.fence == 1:
            await asyncio.sleep(60)

    node = await join_node(database)
    async with consuming(make_consumer(database, node, Service(KEY, handler))):
        job = await make_queue(database).enqueue(KEY, {})
        await asyncio.wait_for(started.wait(), 30)
        async with database.begin() as connection:
            assert (await cancel_job(connection, job.id)).cancel_requested
        row = await until_state(database, job.id, "cancelled")
        assert row.attempts == 0
        async with database.begin() as connection:
            assert (await retry_job(connection, job.id)).state == "pending"
        assert (await until_state(database, job.id, "succeeded")).fence == 2


async def test_concurrency_is_never_exceeded_and_priority_decides(database: SqlDatabase) -> None:
    running: list[int] = []
    order: list[int] = []
    most = 0

    async def handler(job: Job) -> None:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        order.append(job.payload["n"])
        await asyncio.sleep(0.005)
        running.pop()

    queue = make_queue(database)
    made = [await queue.enqueue(KEY, {"n": 9 - n}, priority=9 - n) for n in range(10)]
    node = await join_node(database)
    async with consuming(make_consumer(database, node, Service(KEY, handler, concurrency=2))):
        for job in made:
            await until_state(database, job.id, "succeeded")
    assert most == 2
    assert order == sorted(order)


async def test_two_consumers_run_every_job_once(database: SqlDatabase) -> None:
    runs: list[str] = []

    async def handler(job: Job) -> None:
        runs.append(job.id)
        await asyncio.sleep(0)

    queue = make_queue(database)
    async with database.begin() as connection:
        made = [await queue.enqueue(KEY, {}, connection=connection) for _ in range(60)]
    first = make_consumer(database, await join_node(database), Service(KEY, handler, concurrency=7))
    second = make_consumer(database, await join_node(database), Service(KEY, handler, concurrency=5))
    async with consuming(first), consuming(second):
        for job in made:
            row = await until_state(database, job.id, "succeeded")
            assert row.fence == 1
    assert sorted(runs) == sorted(job.id for job in made)


async def test_draining_node_never_claims(database: SqlDatabase) -> None:
    async def handler(job: Job) -> None:
        raise AssertionError("never called")

    node = await join_node(database)
    consumer = make_consumer(database, node, Service(KEY, handler), poll_seconds=0.01)
    consumer.stop_claiming()
    async with consuming(consumer):
        job = await make_queue(database).enqueue(KEY, {})
        consumer.wake()
        await asyncio.sleep(0.05)
        assert (await read_job(database, job.id)).fence == 0


async def test_claim_checks_own_registration(database: SqlDatabase) -> None:
    async def handler(job: Job) -> None:
        return None

    node = await join_node(database)
    job = await make_queue(database).enqueue(KEY, {})
    for state in ("starting", "quiet", "draining", "stopped", "lost"):
        async with database.begin() as connection:
            await set_node_state(connection, node, state)
        async with consuming(make_consumer(database, node, Service(KEY, handler), poll_seconds=0.01)):
            await asyncio.sleep(0.03)
        assert (await read_job(database, job.id)).fence == 0, state
    async with database.begin() as connection:
        await connection.execute(delete(nodes))
    async with consuming(make_consumer(database, node, Service(KEY, handler), poll_seconds=0.01)):
        await asyncio.sleep(0.03)
    assert (await read_job(database, job.id)).fence == 0


async def test_a_drain_waits_then_releases_the_rest_at_once_and_uncharged(database: SqlDatabase) -> None:
    finish = asyncio.Event()

    async def handler(job: Job) -> None:
        if job.payload["slow"]:
            await asyncio.sleep(60)
        await finish.wait()

    queue = make_queue(database)
    consumer = make_consumer(database, await join_node(database), Service(KEY, handler))
    running = asyncio.create_task(consumer.run())
    quick, slow = await queue.enqueue(KEY, {"slow": False}), await queue.enqueue(KEY, {"slow": True})
    await until(lambda: _true(consumer.busy == 2))
    asyncio.get_running_loop().call_later(0.05, finish.set)
    assert await consumer.drain(2.0) == 1
    await asyncio.wait_for(running, 30)
    assert (await read_job(database, quick.id)).state == "succeeded"
    row = await read_job(database, slow.id)
    assert (row.state, row.attempts, row.losses) == ("pending", 0, 0)


async def test_a_drain_releases_jobs_whose_handler_ignores_cancel(database: SqlDatabase) -> None:
    stubborn = asyncio.Event()

    async def handler(job: Job) -> None:
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue

    consumer = make_consumer(database, await join_node(database), Service(KEY, handler))
    running = asyncio.create_task(consumer.run())
    job = await make_queue(database).enqueue(KEY, {})
    await until(lambda: _true(consumer.busy == 1))
    assert await consumer.drain(0.05) == 1
    await asyncio.wait_for(running, 30)
    row = await read_job(database, job.id)
    assert (row.state, row.attempts) == ("pending", 0)
    stubborn.set()
    await until(lambda: _true(consumer.busy == 0))


async def test_a_transaction_of_a_job_commits_only_while_its_claim_holds(database: SqlDatabase) -> None:
    claimed, swept = asyncio.Event(), asyncio.Event()
    refused = []

    async def handler(job: Job) -> None:
        if job.fence > 1:
            async with job.transaction() as connection:
                await connection.execute(insert(limits).values(key="second"))
            return
        claimed.set()
        await swept.wait()
        try:
            async with job.transaction() as connection:
                await connection.execute(insert(limits).values(key="first"))
        except FenceLostError as error:
            refused.append(error)
            raise

    frozen = await join_node(database)
    job = await make_queue(database).enqueue(KEY, {})
    service = Service(KEY, handler)
    async with consuming(make_consumer(database, frozen, service, poll_seconds=60)):
        await asyncio.wait_for(claimed.wait(), 30)
        async with database.begin() as connection:
            await connection.execute(update(nodes).values(lease_until=nodes.c.started_at))
        other = await join_node(database)
        await make_sweep(database, other).turn()
        async with consuming(make_consumer(database, other, service)):
            row = await until_state(database, job.id, "succeeded")
        swept.set()
        await until(lambda: _true(refused))
    async with database.connect() as connection:
        assert (await connection.scalars(limits.select())).all() == ["second"]
        assert len((await connection.execute(history.select())).all()) == 1
    assert (row.fence, row.losses, row.attempts) == (2, 1, 0)


async def test_unknown_service_left_in_queue(database: SqlDatabase) -> None:
    async def handler(job: Job) -> None:
        return None

    node = await join_node(database)
    job = await make_queue(database, external=("other:key",)).enqueue("other:key", {})
    async with consuming(make_consumer(database, node, Service(KEY, handler), poll_seconds=0.01)):
        await asyncio.sleep(0.05)
    assert (await read_job(database, job.id)).state == "pending"


async def _true(value: Any) -> Any:
    return value


async def test_a_backlog_is_claimed_as_slots_come_free_without_waiting_for_the_next_poll(database: SqlDatabase) -> None:
    ended: list[str] = []

    async def handler(job: Job) -> None:
        await asyncio.sleep(0.05)  # longer than a turn of the consumer, which finds every slot taken
        ended.append(job.id)

    await make_queue(database).enqueue_many(KEY, [{} for _ in range(12)])
    consumer = make_consumer(database, await join_node(database), Service(KEY, handler, concurrency=2), poll_seconds=60)
    async with consuming(consumer):
        await until(lambda: _true(len(ended) == 12))
