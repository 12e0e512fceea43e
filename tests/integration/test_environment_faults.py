"""What the world around the queue may do to it: another machine on its file, a database that lets nobody write."""

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from integration.queue_bench import (
    KEY,
    NO_WAIT,
    claim,
    consuming,
    join_node,
    make_consumer,
    make_queue,
    node_record,
    read_job,
    settle,
    until_state,
)
from sqlalchemy import text

from nocohost.api.errors import ConfigError, StoreUnavailableError
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.service import Service
from nocohost.node.clock import SystemClock
from nocohost.node.setting_models import Timing
from nocohost.queue.beat import Beat
from nocohost.store import required_version
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.one_machine import MARK, require_one_machine, this_kernel
from nocohost.testing.node import TestNode
from nocohost.testing.postgres import PostgresServer

ELSEWHERE = {"kernel": "another", "name": "far-away"}


def mark_of(database: SqlDatabase) -> Path:
    return Path(f"{database.file}-nodes") / MARK


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_second_machine_is_refused_while_the_first_has_live_nodes(database: SqlDatabase) -> None:
    await require_one_machine(database)
    assert json.loads(mark_of(database).read_text())["kernel"] == this_kernel()
    node = await join_node(database)
    await require_one_machine(database)
    mark_of(database).write_text(json.dumps(ELSEWHERE))
    with pytest.raises(StoreUnavailableError, match="in use by 1 live nodes on the machine far-away") as caught:
        await require_one_machine(database)
    assert "PostgreSQL" in caught.value.hint
    assert json.loads(mark_of(database).read_text()) == ELSEWHERE
    async with database.begin() as connection:
        await connection.execute(text("UPDATE nocohost_nodes SET lease_until = nocohost_now() - 1"))
    await require_one_machine(database)
    assert json.loads(mark_of(database).read_text())["kernel"] == this_kernel(), "the other machine is gone"
    assert node


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("junk", ["", "{", "[1]", "\x00"])
async def test_a_mark_that_makes_no_sense_is_written_anew(database: SqlDatabase, junk: str) -> None:
    mark_of(database).parent.mkdir()
    mark_of(database).write_text(junk)
    await join_node(database)
    await require_one_machine(database)
    assert json.loads(mark_of(database).read_text())["kernel"] == this_kernel()


async def test_a_node_on_a_second_machine_does_not_start(
    node: Callable[..., AbstractAsyncContextManager[TestNode]],
) -> None:
    async with node("!") as first:
        mark_of(first.running.parts.database).write_text(json.dumps(ELSEWHERE))
        with pytest.raises(StoreUnavailableError, match="far-away"):
            async with node("*"):
                pass
    async with node("*") as second:
        assert second.app.serving(KEY)


async def test_postgresql_serves_many_machines(postgresql_server: PostgresServer, log: Log) -> None:
    database = open_database(postgresql_server.url(), clock=SystemClock(), log=log)
    await require_one_machine(database)
    await database.close()


async def test_a_database_that_is_too_old_is_said_at_once(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.wait(0)
    monkeypatch.setattr(required_version, "OLDEST_POSTGRESQL", 99)
    monkeypatch.setattr(required_version, "OLDEST_SQLITE", (9, 1))
    with pytest.raises(ConfigError, match=r"is (PostgreSQL \d+|SQLite 3\.[\d.]+), which is too old") as caught:
        await database.wait(60)
    assert {"postgresql": "PostgreSQL 99", "sqlite": "SQLite 9.1"}[database.dialect] in caught.value.hint


async def test_a_node_whose_pool_is_taken_goes_on_beating(migrated_url: Callable[[], str], log: Log) -> None:
    """However many requests hold its connections: the heartbeat has one of its own."""
    database = open_database(migrated_url(), clock=SystemClock(), log=log, pool_size=1)
    record, renewed = node_record(await join_node(database)), threading.Event()
    beat = Beat(database.open_sync, record, Timing(0.1, 60, 2), renewed=lambda sent_at: renewed.set(), log=log)
    async with database.connect():
        beat.start()
        for _ in range(2):
            assert await asyncio.to_thread(renewed.wait, 20)
            renewed.clear()
    await asyncio.to_thread(beat.stop)
    await database.close()


async def allow_writes(database: SqlDatabase, *, allowed: bool) -> None:
    """Make the database of PostgreSQL read-only for sessions to come, and end those that are there."""
    async with database.autocommit() as connection:
        await connection.execute(text("SET default_transaction_read_only = off"))
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.execute(
            text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {"off" if allowed else "on"}')
        )
        others = "FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"), {"name": name})
    await database._engine.dispose()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_database_that_turns_read_only_is_an_outage_and_no_fence(database: SqlDatabase) -> None:
    """As behind a standby: nothing is claimed, a running job keeps its claim, and all goes on when it is over."""
    going, begun = asyncio.Event(), asyncio.Event()
    runs = []

    async def handler(job: Job) -> None:
        runs.append(job.id)
        begun.set()
        await going.wait()

    queue, node = make_queue(database), await join_node(database, lease_seconds=600)
    first, second = [await queue.enqueue(KEY, {}) for _ in range(2)]
    service = Service(KEY, handler, concurrency=1, backoff=NO_WAIT)
    async with consuming(make_consumer(database, node, service)):
        await asyncio.wait_for(begun.wait(), 20)
        await allow_writes(database, allowed=False)
        for _ in range(3):  # the first may meet a session that has just been ended
            with pytest.raises(StoreUnavailableError):
                await queue.enqueue(KEY, {})
        going.set()
        await asyncio.sleep(0.3)
        assert (await read_job(database, first.id)).state == "running", "its end cannot be written yet"
        await allow_writes(database, allowed=True)
        for job in (first, second):
            assert (await until_state(database, job.id, "succeeded", "dead")).state == "succeeded"
    assert runs == [first.id, second.id], "nobody was fenced, and nothing ran twice"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_full_disk_refuses_new_jobs_and_keeps_what_runs(database: SqlDatabase) -> None:
    queue, node = make_queue(database), await join_node(database)
    job = await queue.enqueue(KEY, {})
    (row,) = await claim(database, node)
    full = "PRAGMA max_page_count = 1"  # no fewer than there are: the next page is one too many

    def limit(driver: object) -> None:
        driver.execute(full)  # type: ignore[attr-defined]

    await database.hot._run(limit)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailableError, match="full"):
        await queue.enqueue_many(KEY, [{"text": "x" * 10_000}] * 100)
    await database.hot._run(lambda driver: driver.execute("PRAGMA max_page_count = 1000000"))  # type: ignore[attr-defined]
    assert (await read_job(database, job.id)).state == "running"
    assert await settle(database, row), "when there is room again, its end is written"
    assert len(await queue.enqueue_many(KEY, [{"text": "x" * 10_000}] * 100)) == 100


FILLED = """
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100';
END $$
"""


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_full_disk_of_postgresql_loses_nothing_and_passes(database: SqlDatabase) -> None:
    """What needs a new page is refused: no job is taken, what runs keeps its claim, and all goes on with space."""
    going, begun = asyncio.Event(), asyncio.Event()
    runs = []

    async def handler(job: Job) -> None:
        runs.append(job.id)
        begun.set()
        await going.wait()

    queue, node = make_queue(database), await join_node(database, lease_seconds=600)
    first, second = [await queue.enqueue(KEY, {}) for _ in range(2)]
    async with consuming(make_consumer(database, node, Service(KEY, handler, concurrency=1, backoff=NO_WAIT))):
        await asyncio.wait_for(begun.wait(), 20)
        async with database.begin() as connection:
            await connection.execute(text(FILLED))
            for table in ("nocohost_jobs", "nocohost_history"):
                trigger = f"CREATE TRIGGER fill BEFORE INSERT ON {table} EXECUTE FUNCTION fill()"
                await connection.execute(text(trigger))
        for enqueue in (queue.enqueue(KEY, {}), queue.enqueue_many(KEY, [{}] * 3)):
            with pytest.raises(StoreUnavailableError, match="No space left on device") as caught:
                await enqueue
            assert caught.value.retryable
        with pytest.raises(StoreUnavailableError):
            async with database.begin() as connection:
                await queue.enqueue(KEY, {}, connection=connection)
        going.set()
        await asyncio.sleep(0.3)
        assert (await read_job(database, first.id)).state == "running", "its end needs a row of the history"
        async with database.begin() as connection:
            await connection.execute(text("DROP FUNCTION fill CASCADE"))
        for job in (first, second):
            assert (await until_state(database, job.id, "succeeded", "dead")).state == "succeeded"
        later = await queue.enqueue(KEY, {})
        assert (await until_state(database, later.id, "succeeded", "dead")).state == "succeeded"
    assert runs == [first.id, second.id, later.id], "nothing was taken that was refused, and nothing ran twice"
