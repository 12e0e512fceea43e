"""Enqueueing on both databases: transactions, idempotency, what is refused, and answers that get lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from integration.queue_bench import KEY, make_queue, read_job
from pydantic import BaseModel
from sqlalchemy import func, insert, select, update

from nocohost.api.errors import (
    JobConflictError,
    NestedWriteError,
    PayloadError,
    PayloadTooLargeError,
    StoreUnavailableError,
    UnknownKeyError,
)
from nocohost.api.job import JobState
from nocohost.api.service import JobType
from nocohost.store.database import SqlDatabase
from nocohost.store.endings import Ending, end_jobs
from nocohost.store.hot.values import NewJob
from nocohost.store.jobs import drop_job, retry_job
from nocohost.store.schema import idempotency, jobs, limits
from nocohost.store.types import db_after


class Invoice(BaseModel):
    order: int
    at: datetime | None = None


@contextlib.asynccontextmanager
async def failing(database: SqlDatabase) -> AsyncIterator[Any]:
    """A transaction whose owner fails at the end of the block."""
    with contextlib.suppress(ZeroDivisionError):
        async with database.begin() as connection:
            yield connection
            raise ZeroDivisionError


async def count_jobs(database: SqlDatabase) -> int:
    async with database.connect() as connection:
        return (await connection.scalar(select(func.count()).select_from(jobs))) or 0


async def test_a_job_and_a_row_of_the_caller_commit_together_or_not_at_all(database: SqlDatabase) -> None:
    queue = make_queue(database)
    async with failing(database) as connection:
        await connection.execute(insert(limits).values(key="business"))
        await queue.enqueue(KEY, {}, connection=connection)
    assert await count_jobs(database) == 0
    async with database.begin() as connection:
        await connection.execute(insert(limits).values(key="business"))
        job = await queue.enqueue(KEY, {"order": 1}, connection=connection)
    row = await read_job(database, job.id)
    assert (row.state, row.payload, row.enqueued_at) == ("pending", {"order": 1}, job.enqueued_at)


async def test_a_hint_follows_the_commit_and_no_roll_back(database: SqlDatabase) -> None:
    queue = make_queue(database)
    hints: list[tuple[str, int]] = []
    queue.on_enqueued = lambda key, jobs: hints.append((key, jobs))
    await queue.enqueue(KEY, {})
    assert hints == [(KEY, 1)]
    async with database.begin() as connection:
        await queue.enqueue(KEY, {}, connection=connection)
        await queue.enqueue_many(KEY, [{}] * 3, connection=connection)
        assert hints == [(KEY, 1)]
    assert hints == [(KEY, 1), (KEY, 1), (KEY, 3)]
    hints.clear()
    async with failing(database) as connection:
        await queue.enqueue(KEY, {}, connection=connection)
    assert hints == []
    await queue.enqueue_many(KEY, [{}] * 2)
    assert hints == [(KEY, 2)]


async def test_an_enqueue_inside_an_open_transaction(database: SqlDatabase) -> None:
    queue = make_queue(database)
    async with database.begin():
        if database.dialect == "sqlite":
            with pytest.raises(NestedWriteError, match="connection=connection"):
                await queue.enqueue(KEY, {})
        else:
            await queue.enqueue(KEY, {})


async def test_one_idempotency_key_makes_one_job(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY, payload=Invoice))
    first = await queue.enqueue(KEY, {"order": 1}, idempotency_key="a")
    again = await queue.enqueue(KEY, Invoice(order=1), idempotency_key="a")
    assert (again.id, again.payload, again.enqueued_at) == (first.id, Invoice(order=1), first.enqueued_at)
    with pytest.raises(JobConflictError, match=first.id):
        await queue.enqueue(KEY, {"order": 2}, idempotency_key="a")
    assert (await queue.enqueue(KEY, {"order": 2}, idempotency_key="b")).id != first.id
    assert await count_jobs(database) == 2


async def test_one_idempotency_key_makes_one_job_whoever_comes_at_once(database: SqlDatabase) -> None:
    queue = make_queue(database)
    made = await asyncio.gather(*(queue.enqueue(KEY, {"order": 1}, idempotency_key="a") for _ in range(20)))
    assert len({job.id for job in made}) == 1
    assert await count_jobs(database) == 1


async def test_a_rolled_back_owner_of_a_key_leaves_it_to_the_next(database: SqlDatabase) -> None:
    queue = make_queue(database)
    async with failing(database) as connection:
        await queue.enqueue(KEY, {}, connection=connection, idempotency_key="a")
        waiting = asyncio.create_task(queue.enqueue(KEY, {}, idempotency_key="a"))
        await asyncio.sleep(0.05)
    job = await asyncio.wait_for(waiting, 30)
    assert (await read_job(database, job.id)).state == "pending"


async def test_a_key_is_kept_past_the_end_and_then_given_away(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY, unique_seconds=1000))
    first = await queue.enqueue(KEY, {}, idempotency_key="a")
    async with database.begin() as connection:
        await end_jobs(connection, jobs.c.id == first.id, Ending(JobState.DEAD, last_error="x"))
        left = await connection.scalar(select((idempotency.c.expires_at > db_after(990)).label("left")))
        assert left
    assert (await queue.enqueue(KEY, {}, idempotency_key="a")).id == first.id
    async with database.begin() as connection:
        await retry_job(connection, first.id)
        assert await connection.scalar(select(idempotency.c.expires_at)) is None
        await end_jobs(connection, jobs.c.id == first.id, Ending(JobState.SUCCEEDED))
        await connection.execute(update(idempotency).values(expires_at=db_after(-1)))
    second = await queue.enqueue(KEY, {"other": 1}, idempotency_key="a")
    assert second.id != first.id
    async with database.begin() as connection:
        assert await connection.scalar(select(idempotency.c.expires_at)) is None
        await drop_job(connection, second.id)
    gone = await queue.enqueue(KEY, {"other": 1}, idempotency_key="a")
    assert (gone.id, gone.enqueued_at) == (second.id, None)


async def test_a_lost_answer_is_read_back_before_it_is_reported(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = make_queue(database)
    insert, commits = database.hot.insert, True

    async def lossy(news: Sequence[NewJob]) -> Sequence[datetime]:
        """A write that reaches the database or not, while its answer never comes back."""
        if commits:
            await insert(news)
        lost = StoreUnavailableError("connection lost")
        lost.unsure = True
        raise lost

    monkeypatch.setattr(database.hot, "insert", lossy)
    job = await queue.enqueue(KEY, {})
    assert (await read_job(database, job.id)).state == "pending"
    assert len(await queue.enqueue_many(KEY, [{}, {}])) == 2
    commits = False
    with pytest.raises(StoreUnavailableError, match=r"while job .* was committed"):
        await queue.enqueue(KEY, {})


async def test_the_lost_answer_to_a_commit_is_read_back(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue(database)
    begin = database.begin
    commits = True

    class Lossy:
        """A transaction whose commit reaches the database or not, while its answer never comes back."""

        async def __aenter__(self) -> Any:
            self.inner = begin()
            return await self.inner.__aenter__()

        async def __aexit__(self, *error: Any) -> None:
            if not commits:
                error = (ZeroDivisionError, ZeroDivisionError(), None)
            with contextlib.suppress(ZeroDivisionError):
                await self.inner.__aexit__(*error)
            raise StoreUnavailableError("connection lost")

    monkeypatch.setattr(database, "begin", Lossy)
    job = await queue.enqueue(KEY, {}, idempotency_key=str(commits))
    assert (await read_job(database, job.id)).state == "pending"
    many = await queue.enqueue_many(KEY, [{}] * 1001)
    assert (await read_job(database, many[-1].id)).state == "pending"
    commits = False
    with pytest.raises(StoreUnavailableError, match=r"while job .* was committed"):
        await queue.enqueue(KEY, {}, idempotency_key=str(commits))
    with pytest.raises(StoreUnavailableError, match=r"while job .* was committed"):
        await queue.enqueue_many(KEY, [{}] * 1001)
    assert await count_jobs(database) == 1002


async def test_run_at(database: SqlDatabase) -> None:
    queue = make_queue(database)
    with pytest.raises(PayloadError, match="no time zone"):
        await queue.enqueue(KEY, {}, run_at=datetime(2030, 1, 1))  # noqa: DTZ001
    ends = (
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    )
    for outside in ends:
        with pytest.raises(PayloadError, match="outside the years"):
            await queue.enqueue(KEY, {}, run_at=outside)
        with pytest.raises(PayloadError, match="outside the years"):
            await queue.enqueue_many(KEY, [{}, {}], run_at=outside)
    for instant in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        job = await queue.enqueue(KEY, {}, run_at=instant)
        assert (await read_job(database, job.id)).run_at >= min(instant, job.enqueued_at)
    past = await read_job(database, (await queue.enqueue(KEY, {}, run_at=datetime(1999, 1, 1, tzinfo=UTC))).id)
    assert past.run_at - past.enqueued_at < timedelta(seconds=1)
    far = datetime(2999, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
    assert (await read_job(database, (await queue.enqueue(KEY, {}, run_at=far)).id)).run_at == far


async def test_what_is_refused(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY, payload=Invoice), JobType("shop:ship"), external=("other:key",))
    with pytest.raises(UnknownKeyError, match="did you mean 'shop:invoice'"):
        await queue.enqueue("shop:invoise", {})
    with pytest.raises(PayloadError, match="order"):
        await queue.enqueue(KEY, {"order": "many"})
    for bad in (
        [1],
        "text",
        None,
        {"a": {1, 2}},
        {"a": float("inf")},
        {1: 2},
        {"a": "\ud800"},
        {"a": Invoice(order=1)},
    ):
        with pytest.raises(PayloadError):
            await queue.enqueue("shop:ship", bad)
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(PayloadError):
        await queue.enqueue("shop:ship", deep)
    with pytest.raises(PayloadTooLargeError, match="262144"):
        await queue.enqueue("shop:ship", {"a": "x" * 262_144})
    for options in ({"priority": 2**31}, {"priority": True}, {"idempotency_key": ""}, {"idempotency_key": "x" * 256}):
        with pytest.raises(PayloadError):
            await queue.enqueue("shop:ship", {}, **options)
    with pytest.raises(PayloadError):
        await queue.enqueue("shop:ship", {}, idempotency_key="a\x00b")
    assert await count_jobs(database) == 0


async def test_odd_payloads_come_back_as_they_were(database: SqlDatabase) -> None:
    queue = make_queue(database, external=("other:key",))
    payload = {"nul": "\x00", "big": 2**80, "emoji": "🧾", "float": 0.1, "none": None, "list": [1, [True]], "": {}}
    job = await queue.enqueue("other:key", payload)
    assert (await read_job(database, job.id)).payload == payload == job.payload


async def test_a_model_is_stored_as_json_and_handed_back_as_the_model(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY, payload=Invoice, priority=7))
    at = datetime(2030, 1, 1, tzinfo=UTC)
    job = await queue.enqueue(KEY, {"order": 1, "at": "2030-01-01T00:00:00Z"})
    assert job.payload == Invoice(order=1, at=at)
    row = await read_job(database, job.id)
    assert (row.payload, row.priority) == ({"order": 1, "at": "2030-01-01T00:00:00Z"}, 7)


async def test_no_payloads_make_no_jobs_but_the_key_must_be_known(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY))
    assert await queue.enqueue_many(KEY, []) == []
    with pytest.raises(UnknownKeyError, match="shop:invoce") as caught:
        await queue.enqueue_many("shop:invoce", [])
    assert KEY in caught.value.hint
