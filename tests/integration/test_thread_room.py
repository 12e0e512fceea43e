"""Plain handlers in threads: what they return and raise, how they are cancelled, and their blocking twins."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import pytest
from integration.queue_bench import KEY, claim, join_node, make_queue, read_job
from sqlalchemy import func, select, update

from nocohost.api.app import App
from nocohost.api.blocking import BlockingApp, BlockingJob
from nocohost.api.errors import (
    AttemptCancelledError,
    FenceLostError,
    HandlerRaisedError,
    TransactionExpiredError,
)
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.child.thread_room import ThreadRoom
from nocohost.node.identity import new_claim_id
from nocohost.queue.claim import HeldClaim
from nocohost.queue.enqueue import JobQueue
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import jobs
from nocohost.testing.clock import FakeClock


@dataclass
class NarrowApp:
    """As much of the app as the twins hand on."""

    queue: JobQueue
    database: SqlDatabase


class Bench:
    """A room and the jobs to run in it."""

    def __init__(self, database: SqlDatabase, log: Log) -> None:
        self.database = database
        self.clock = FakeClock()
        self.queue = make_queue(database)
        self.enqueued: list[tuple[str, str]] = []
        self.queue.on_enqueued = lambda key, jobs: self.enqueued.append((key, threading.current_thread().name))
        app = cast("App", NarrowApp(self.queue, database))
        self.room = ThreadRoom(app, database, clock=self.clock, log=log)

    async def claim(self) -> tuple[Job, WorkOrder]:
        """Enqueue a job, claim it, and return it as a room gets it."""
        await self.queue.enqueue(KEY, {"order": 1})
        node = await join_node(self.database)
        (row,) = await claim(self.database, node)
        order = WorkOrder(row.id, KEY, row.payload, 1, 5, row.fence, row.claim_id, node, row.enqueued_at)
        return Job(row.id, KEY, row.payload, claim=HeldClaim(self.database, order)), order

    async def run(self, handler: Callable[..., Any], concurrency: int = 2) -> Any:
        job, order = await self.claim()
        return await self.room.run(Service(KEY, handler, isolation="thread", concurrency=concurrency), job, order)

    async def lose(self, job: Job) -> None:
        async with self.database.begin() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job.id).values(claim_id=new_claim_id()))

    async def count(self) -> int:
        async with self.database.connect() as connection:
            return int(await connection.scalar(select(func.count()).select_from(jobs)) or 0)


@pytest.fixture
async def bench(database: SqlDatabase, log: Log) -> AsyncIterator[Bench]:
    made = Bench(database, log)
    yield made
    made.room.close()


async def test_a_plain_handler_runs_in_a_thread_of_its_service(bench: Bench) -> None:
    def handler(job: BlockingJob) -> dict[str, Any]:
        return {"order": job.payload["order"], "thread": threading.current_thread().name}

    assert await bench.run(handler) == {"order": 1, "thread": f"{KEY} 1"}
    assert await bench.run(handler) == {"order": 1, "thread": f"{KEY} 1"}, "the thread is used again"


@pytest.mark.parametrize(
    ("error", "words", "text"),
    [
        (ValueError, "no such order", "ValueError: no such order"),
        (SystemExit, 3, "SystemExit: 3"),
        (KeyboardInterrupt, "own", "KeyboardInterrupt: own"),
    ],
)
async def test_what_a_handler_raises_comes_back_as_text(bench: Bench, error: Any, words: Any, text: str) -> None:
    def handler(job: BlockingJob) -> None:
        raise error(words)

    with pytest.raises(HandlerRaisedError) as caught:
        await bench.run(handler)
    assert caught.value.message == text
    assert "in handler" in caught.value.trace
    assert "call.py" not in caught.value.trace, "the traceback begins with the handler's own frames"


async def test_at_most_concurrency_handlers_run_at_a_time(bench: Bench) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def handler(job: BlockingJob) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    await asyncio.gather(*(bench.run(handler) for _ in range(6)))
    assert most == 2


async def test_progress_and_transactions_block_until_they_are_written(bench: Bench) -> None:
    async def progress_of(job_id: str) -> Any:
        return (await read_job(bench.database, job_id)).progress

    def handler(job: BlockingJob, app: BlockingApp) -> Any:
        job.progress(1, 3, "lines")
        seen = app.wait(progress_of(job.id))
        other = app.queue.enqueue(KEY, {"order": 2})
        with job.transaction() as connection:
            connection.execute(update(jobs).where(jobs.c.id == other.id).values(last_error="note"))
            job.progress(2, 3)
        with app.database.connect() as connection:
            note = connection.scalar(select(jobs.c.last_error).where(jobs.c.id == other.id))
        return [seen, note, app.wait(progress_of(job.id))]

    assert await bench.run(handler) == [
        {"done": 1, "total": 3, "unit": "lines"},
        "note",
        {"done": 2, "total": 3, "unit": ""},
    ]


async def test_enqueue_blocks_and_joins_a_transaction(bench: Bench) -> None:
    def handler(job: BlockingJob, app: BlockingApp) -> list[Any]:
        first = app.queue.enqueue(KEY, {"order": 2}, idempotency_key="two")
        with job.transaction() as connection:
            second = app.queue.enqueue(KEY, {"order": 2}, idempotency_key="two", connection=connection)
            many = app.queue.enqueue_many(KEY, ({"order": n} for n in (3, 4)), connection=connection)
        with suppress(KeyError), app.database.begin() as connection:
            app.queue.enqueue(KEY, {"order": 5}, connection=connection)
            raise KeyError
        return [first.id == second.id, len(many), len(app.queue.enqueue_many(KEY, [{"order": 6}]))]

    assert await bench.run(handler) == [True, 2, 1]
    assert await bench.count() == 5
    await asyncio.sleep(0)
    assert {thread for _, thread in bench.enqueued} == {threading.current_thread().name}, (
        "hints reach the loop's thread"
    )


async def test_a_write_within_a_write_raises_instead_of_waiting_for_itself(bench: Bench) -> None:
    def handler(job: BlockingJob, app: BlockingApp) -> None:
        with job.transaction():
            app.queue.enqueue(KEY, {"order": 2})

    if bench.database.dialect == "postgresql":
        assert await bench.run(handler) is None, "PostgreSQL has many writers"
    else:
        with pytest.raises(HandlerRaisedError, match="pass the transaction along"):
            await bench.run(handler)
        nested = "this thread is already inside"
        with pytest.raises(HandlerRaisedError, match=nested):
            await bench.run(lambda job, app: nest(app))


def nest(app: BlockingApp) -> None:
    with app.database.begin(), app.database.begin():
        pass


async def test_a_write_through_a_connection_for_reading_is_refused(bench: Bench) -> None:
    def handler(job: BlockingJob, app: BlockingApp) -> None:
        with app.database.connect() as connection:
            connection.execute(update(jobs).values(last_error="note"))

    with pytest.raises(HandlerRaisedError, match="write through database"):
        await bench.run(handler)


async def test_late_writes_of_an_attempt_that_lost_its_job_are_refused(bench: Bench) -> None:
    def handler(job: BlockingJob, app: BlockingApp) -> str:
        app.wait(bench.lose(cast("Job", job)))
        with pytest.raises(FenceLostError):
            job.progress(1)
        with pytest.raises(FenceLostError), job.transaction() as connection:
            connection.execute(update(jobs).values(last_error="late"))
        with app.database.connect() as connection:
            return str(connection.scalar(select(jobs.c.last_error)))

    assert await bench.run(handler) == "None"


async def test_a_cancelled_handler_is_told(bench: Bench) -> None:
    told: list[Any] = []
    started = threading.Event()

    def handler(job: BlockingJob, app: BlockingApp) -> str:
        started.set()
        while not job.cancel_requested:
            time.sleep(0.001)
        for call in (
            lambda: job.progress(1),
            lambda: app.queue.enqueue(KEY, {}),
            lambda: job.transaction().__enter__(),
        ):
            with pytest.raises(AttemptCancelledError):
                call()
            told.append(True)
        return "ended in good order"

    running = asyncio.create_task(bench.run(handler))
    await asyncio.to_thread(started.wait)
    running.cancel()
    assert await running == "ended in good order", "what it returns all the same is its outcome"
    assert told == [True, True, True]


async def test_cancelling_breaks_off_what_the_handler_waits_for(bench: Bench) -> None:
    started = threading.Event()

    def handler(job: BlockingJob, app: BlockingApp) -> None:
        started.set()
        app.wait(asyncio.sleep(3600))

    running = asyncio.create_task(bench.run(handler))
    await asyncio.to_thread(started.wait)
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(HandlerRaisedError, match="cancelled"):
        await asyncio.wait_for(running, 30)


@pytest.mark.parametrize("impatient", [False, True])
async def test_a_handler_that_ignores_the_cancel_is_left_behind(bench: Bench, log_lines: Any, impatient: bool) -> None:
    started, go_on = threading.Event(), threading.Event()

    def deaf(job: BlockingJob) -> None:
        started.set()
        go_on.wait()

    running = asyncio.create_task(bench.run(deaf, concurrency=1))
    await asyncio.to_thread(started.wait)
    running.cancel()
    await asyncio.sleep(0.01)
    assert not running.done()
    if impatient:
        running.cancel()
    else:
        bench.clock.advance(10)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "thread.abandoned" in {line["event"] for line in log_lines.entries}
    assert await bench.run(lambda job: "next", concurrency=1) == "next", "another thread has taken its place"
    go_on.set()
    assert await bench.run(lambda job: "after", concurrency=1) == "after"


async def test_every_thread_that_hangs_is_told_once_none_is_left(bench: Bench, log_lines: Any) -> None:
    go_on, starts = threading.Event(), threading.Semaphore(0)

    def hang(job: BlockingJob) -> None:
        starts.release()
        go_on.wait(60)

    for _ in range(2):
        running = asyncio.create_task(bench.run(hang, concurrency=1))
        await asyncio.to_thread(starts.acquire, timeout=30)
        running.cancel()
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert "thread.exhausted" in {line["event"] for line in log_lines.entries}
    waiting = asyncio.create_task(bench.run(lambda job: "in the end", concurrency=1))
    go_on.set()
    assert await asyncio.wait_for(waiting, 30) == "in the end"


def keep_open(job: BlockingJob, app: BlockingApp) -> None:
    with job.transaction() as connection:
        connection.execute(update(jobs).values(last_error="too late"))
        time.sleep(0.3)
        with pytest.raises(TransactionExpiredError):
            connection.execute(update(jobs).values(last_error="too late"))
        app.wait(other_write(app))


async def other_write(app: BlockingApp) -> None:
    async with asyncio.timeout(30):
        await cast("App", app.queue._queue).enqueue(KEY, {"order": 2})  # type: ignore[attr-defined]


async def test_a_transaction_kept_too_long_loses_its_turn(
    bench: Bench, log_lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bench.database.dialect == "postgresql":
        pytest.skip("the server ends such transactions")
    monkeypatch.setattr("nocohost.store.database.TURN_SECONDS", 0.1)

    def handler(job: BlockingJob, app: BlockingApp) -> str:
        with pytest.raises(TransactionExpiredError, match="test_thread_room"):
            keep_open(job, app)
        with app.database.connect() as connection:
            return str(connection.scalar(select(jobs.c.last_error)))

    assert await bench.run(handler) == "None"
    assert "transaction.expired" in {line["event"] for line in log_lines.entries}
    assert await bench.run(lambda job: "the turn is free", concurrency=1) == "the turn is free"


async def test_a_twin_called_on_the_event_loop_raises(bench: Bench) -> None:
    kept: list[BlockingJob] = []
    assert await bench.run(kept.append) is None
    with pytest.raises(RuntimeError, match="on the event loop"):
        kept[0].progress(1)
