"""Dead letters and other jobs by filter: retried, cancelled, dropped; and how long idempotency keys hold."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from integration.queue_bench import KEY, claim, join_node, make_queue, read_job, settle
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import PayloadError
from nocohost.api.job import JobState
from nocohost.api.service import JobType
from nocohost.store import job_filter
from nocohost.store.database import SqlDatabase
from nocohost.store.job_filter import Changed, JobFilter, change_jobs
from nocohost.store.jobs import retry_job
from nocohost.store.schema import history, idempotency, jobs, nodes
from nocohost.store.types import db_after

OTHER = "other:key"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_filter, "PAGE_JOBS", 3)


async def make_dead(database: SqlDatabase, count: int, key: str = KEY, **options: str) -> list[str]:
    """Make dead letters, and return their ids."""
    queue, node = make_queue(database, JobType(KEY), JobType(OTHER)), await join_node(database)
    made = []
    for place in range(count):
        named = {"idempotency_key": f"{options['named']}-{place}"} if "named" in options else {}
        made.append((await queue.enqueue(key, {"place": place}, **named)).id)
    for row in await claim(database, node, key, count):
        assert await settle(database, row, "dead", error="ValueError: no", charge=True)
    return made


async def states(database: SqlDatabase, ids: list[str]) -> set[str]:
    return {(await read_job(database, job_id)).state for job_id in ids}


async def test_dead_letters_of_one_key_are_retried_page_by_page(database: SqlDatabase) -> None:
    mine, others = await make_dead(database, 8, named="mine"), await make_dead(database, 2, OTHER)
    wanted = JobFilter(KEY, JobState.DEAD)
    assert await change_jobs(database, "retry", wanted, dry_run=True) == Changed(8, left=8)
    assert await states(database, mine) == {"dead"}
    assert await change_jobs(database, "retry", wanted) == Changed(8, 8)
    assert (await states(database, mine), await states(database, others)) == ({"pending"}, {"dead"})
    async with database.connect() as connection:
        open_ended = select(func.count()).select_from(idempotency).where(idempotency.c.expires_at.is_(None))
        assert await connection.scalar(open_ended) == 8, "their idempotency keys live as long as they do"
    assert await change_jobs(database, "retry", wanted) == Changed(0)


async def test_a_job_retried_by_hand_begins_anew(database: SqlDatabase) -> None:
    one, other = await make_dead(database, 2)
    async with database.begin() as connection:
        await retry_job(connection, one)
    await change_jobs(database, "retry", JobFilter(KEY, JobState.DEAD))
    for job_id in (one, other):
        row = await read_job(database, job_id)
        assert (row.attempts, row.node_id, row.started_at, row.last_error, row.fence) == (0, None, None, None, 1)
    (again, _) = await claim(database, await join_node(database), count=2)
    assert again.fence == 2, "an old attempt must stay refused"


async def test_what_ended_or_was_enqueued_later_is_left_alone(database: SqlDatabase) -> None:
    old, new = await make_dead(database, 2)
    async with database.begin() as connection:
        await connection.execute(update(history).where(history.c.id == old).values(finished_at=db_after(-3600)))
    before = datetime.now(UTC) - timedelta(minutes=30)
    assert await change_jobs(database, "drop", JobFilter(KEY, JobState.DEAD, before)) == Changed(1, 1)
    assert (await read_job(database, new)).state == "dead"
    far = datetime(9999, 1, 1, tzinfo=UTC)
    assert await change_jobs(database, "drop", JobFilter(KEY, JobState.DEAD, far)) == Changed(1, 1)


async def test_pending_jobs_are_cancelled_and_dropped_and_their_keys_expire(database: SqlDatabase) -> None:
    queue = make_queue(database)
    for verb in ("cancel", "drop"):
        for place in range(7):
            await queue.enqueue(KEY, {}, idempotency_key=f"{verb}-{place}")
        assert await change_jobs(database, verb, JobFilter(KEY, JobState.PENDING)) == Changed(7, 7)
    async with database.connect() as connection:
        ended = await connection.execute(select(history.c.state, func.count()).group_by(history.c.state))
        assert [tuple(row) for row in ended] == [("cancelled", 7)]
        assert await connection.scalar(select(func.count()).select_from(jobs)) == 0
        dated = select(func.count()).select_from(idempotency).where(idempotency.c.expires_at.is_not(None))
        assert await connection.scalar(dated) == 14


async def test_running_jobs_are_asked_to_stop_once(database: SqlDatabase) -> None:
    await make_queue(database).enqueue_many(KEY, [{}] * 5)
    rows = await claim(database, await join_node(database), count=5)
    wanted = JobFilter(KEY, JobState.RUNNING)
    assert await change_jobs(database, "cancel", wanted) == Changed(5, 5)
    assert await change_jobs(database, "cancel", wanted) == Changed(0)
    assert await settle(database, rows[0], "pending")
    assert (await read_job(database, rows[0].id)).state == "cancelled"


async def test_running_jobs_whose_node_is_gone_are_over_at_once(database: SqlDatabase) -> None:
    made = await make_queue(database).enqueue_many(KEY, [{}] * 4)
    gone, here = await join_node(database), await join_node(database)
    await claim(database, gone, count=3)
    await claim(database, here)
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == gone).values(lease_until=db_after(-1)))
    assert await change_jobs(database, "cancel", JobFilter(KEY, JobState.RUNNING)) == Changed(4, 4)
    found = [await read_job(database, job.id) for job in made]
    assert sorted(row.state for row in found) == ["cancelled"] * 3 + ["running"]
    assert [row.cancel_requested for row in found if row.state == "running"] == [True]


async def test_a_limit_leaves_the_rest_to_whoever_asks_again(database: SqlDatabase) -> None:
    made = await make_dead(database, 10)
    wanted = JobFilter(KEY, JobState.DEAD)
    assert await change_jobs(database, "retry", wanted, limit=4) == Changed(10, 4, left=6)
    assert await change_jobs(database, "retry", wanted, limit=6) == Changed(6, 6)
    assert await states(database, made) == {"pending"}


async def test_an_interruption_keeps_the_pages_that_are_done(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third page fails in the middle of its transaction: it is undone, the two before it are not."""
    made = await make_dead(database, 8)
    retry, pages = job_filter.CHANGES["retry", False], 0

    async def fail(connection: AsyncConnection, ids: Sequence[str]) -> None:
        nonlocal pages
        pages += 1
        await retry(connection, ids)
        if pages == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(job_filter, "CHANGES", {("retry", False): fail})
    with pytest.raises(KeyboardInterrupt):
        await change_jobs(database, "retry", JobFilter(KEY, JobState.DEAD))
    states_now = [(await read_job(database, job_id)).state for job_id in made]
    assert (states_now.count("pending"), states_now.count("dead")) == (6, 2)
    assert await change_jobs(database, "retry", JobFilter(KEY, JobState.DEAD)) == Changed(2, 2)


async def test_jobs_that_move_on_meanwhile_are_counted_as_moved(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first page of pending jobs is being cancelled, a node claims some of those behind it."""
    await make_queue(database).enqueue_many(KEY, [{}] * 8)
    node, page = await join_node(database), job_filter._page
    walked = 0

    def claim_some(wanted: JobFilter, last: object, size: int) -> object:
        nonlocal walked
        walked += 1
        return page(wanted, last, size)  # type: ignore[arg-type]

    monkeypatch.setattr(job_filter, "_page", claim_some)
    begin = database.begin

    @asynccontextmanager
    async def begin_after_a_claim() -> AsyncIterator[AsyncConnection]:
        if walked == 1:
            assert len(await claim(database, node, count=2)) == 2
        async with begin() as connection:
            yield connection

    monkeypatch.setattr(database, "begin", begin_after_a_claim)
    told = await change_jobs(database, "cancel", JobFilter(KEY, JobState.PENDING))
    assert told == Changed(8, 6, moved=2)
    assert told.as_json()["refused"] == [{"code": "moved", "count": 2, "message": job_filter.REASONS["moved"]}]


async def test_jobs_that_somebody_else_is_changing_are_passed_over_and_counted(database: SqlDatabase) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has one writer at a time, who has been waited for")
    made = await make_dead(database, 8)
    async with database.begin() as connection:
        await connection.execute(select(history.c.id).where(history.c.id.in_(made[2:5])).with_for_update())
        told = await change_jobs(database, "drop", JobFilter(KEY, JobState.DEAD))
    assert told == Changed(8, 5, busy=3)
    assert await change_jobs(database, "drop", JobFilter(KEY, JobState.DEAD)) == Changed(3, 3)


@pytest.mark.parametrize(
    ("verb", "state"),
    [("retry", JobState.PENDING), ("cancel", JobState.DEAD), ("drop", JobState.RUNNING), ("drop", JobState.SUCCEEDED)],
)
async def test_a_state_that_does_not_allow_it_is_refused(database: SqlDatabase, verb: str, state: JobState) -> None:
    with pytest.raises(PayloadError, match=f"no job that is {state}"):
        await change_jobs(database, verb, JobFilter(KEY, state))


async def test_the_unique_window_is_that_of_the_job_type_and_begins_when_the_job_is_over(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY, unique_seconds=60))
    first = await queue.enqueue(KEY, {"order": 1}, idempotency_key="order-1")
    node = await join_node(database)

    async def later(seconds: float) -> str:
        async with database.begin() as connection:
            shifted = update(idempotency).where(idempotency.c.expires_at.is_not(None))
            await connection.execute(shifted.values(expires_at=db_after(60 - seconds)))
        return (await queue.enqueue(KEY, {"order": 1}, idempotency_key="order-1")).id

    assert await later(1e6) == first.id, "while it is not over, its key never expires"
    (row,) = await claim(database, node)
    assert await later(1e6) == first.id
    await settle(database, row)
    assert await later(59.0) == first.id
    second = await later(60.5)
    assert second != first.id
    assert await later(1e6) == second
    assert [job.id for job in await claim(database, node)] == [second]


async def test_payloads_are_never_compared_without_a_key_and_keys_are_per_service_key(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY), JobType(OTHER))
    alike = {(await queue.enqueue(KEY, {"order": 1})).id for _ in range(3)}
    named = {(await queue.enqueue(key, {"order": 1}, idempotency_key="one")).id for key in (KEY, OTHER)}
    assert len(alike | named) == 5
