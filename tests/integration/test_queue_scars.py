"""Faults that were found once, each as the test that found it."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest
from prometheus_client import CollectorRegistry

from nocohost.api.errors import StoreError, StoreUnavailableError
from nocohost.api.service import Backoff, JobType, Service
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.node.setting_models import Timing
from nocohost.queue.attempt import Attempts
from nocohost.queue.beat import Beat
from nocohost.queue.consumer import Consumer
from nocohost.queue.enqueue import JobQueue
from nocohost.queue.metrics import QueueMetrics
from nocohost.queue.watch import Reins, Watch
from nocohost.store.jobs import cancel_job, get_job, list_jobs
from nocohost.store.nodes import NodeRecord, leave_cluster, live_nodes, register_node

KEY = "scar:run"


class Rig:
    """A consumer on a real database, with one service."""

    def __init__(self, database, log, handler):
        clock = SystemClock()
        self.database, self.log, self.node_id = database, log, new_id()
        types = {KEY: JobType(KEY, attempts=3)}
        services = {KEY: Service(KEY, handler, backoff=Backoff(0.0))}
        attempts = Attempts(
            database,
            types.get,
            None,
            node_id=self.node_id,
            clock=clock,
            log=log,
            metrics=QueueMetrics(CollectorRegistry()),
        )
        self.consumer = Consumer(database, self.node_id, services, attempts, clock=clock, log=log, poll_seconds=0.1)
        self.queue = JobQueue(database, types.get, keys=[KEY], external_keys=[], payload_bytes=10_000)

    async def __aenter__(self):
        record = NodeRecord(self.node_id, "n", KEY, False, [KEY], "0", {})
        async with self.database.begin() as connection:
            await register_node(connection, record, lease_seconds=60, state="serving")
        self.task = asyncio.create_task(self.consumer.run())
        return self

    async def __aexit__(self, *raised):
        await self.consumer.drain(0.0)
        await asyncio.wait_for(self.task, 30)

    async def row(self, job):
        async with self.database.connect() as connection:
            return await get_job(connection, job.id)

    async def until(self, job, states=("succeeded", "dead", "cancelled")):
        async with asyncio.timeout(60):
            while (row := await self.row(job)).state not in states:
                await asyncio.sleep(0.02)
        return row


class Abort(BaseException):
    """What a library may raise past ``except Exception``."""


async def test_whatever_a_handler_raises_charges_the_attempt(database, log):
    runs = Counter()

    async def handler(job):
        runs["n"] += 1
        raise Abort("boom")

    async with Rig(database, log, handler) as rig:
        row = await rig.until(await rig.queue.enqueue(KEY, {}))
    assert (row.state, row.attempts, runs["n"]) == ("dead", 3, 3)
    assert "boom" in row.last_error


async def test_an_outcome_the_database_refuses_is_a_failed_attempt(database, log, log_lines, monkeypatch):
    async def handler(job):
        return 1

    real = database.hot.settle

    async def refuse(settlements):
        if any(one.value == "1" for one in settlements):
            raise StoreError("the database refuses this value")
        return await real(settlements)

    monkeypatch.setattr(database.hot, "settle", refuse)
    async with Rig(database, log, handler) as rig:
        row = await rig.until(await rig.queue.enqueue(KEY, {}))
    assert (row.state, row.attempts) == ("dead", 3)
    assert "refuses this value" in row.last_error
    assert "job.succeeded" not in {entry["event"] for entry in log_lines.entries}


async def test_a_fenced_node_claims_nothing_until_a_beat_arrives(database, log):
    runs = Counter()

    async def handler(job):
        runs["n"] += 1
        await asyncio.sleep(3600)

    async with Rig(database, log, handler) as rig:
        await rig.until(await rig.queue.enqueue(KEY, {}), ("running",))
        rig.consumer.fence()
        await asyncio.sleep(0.5)
        assert (runs["n"], rig.consumer.busy) == (1, 0)
        rig.consumer.unfence()
        async with asyncio.timeout(30):
            while runs["n"] < 2:
                await asyncio.sleep(0.02)


async def test_a_node_whose_heartbeat_alone_fails_does_not_leave_when_its_handlers_obey(database, log):
    left = []

    async def handler(job):
        await asyncio.sleep(3600)

    now = 0.0
    async with Rig(database, log, handler) as rig:
        consumer, soon = rig.consumer, asyncio.get_running_loop().call_soon_threadsafe
        reins = Reins(soon, consumer.fence, consumer.unfence, lambda: consumer.busy, lambda: None, left.append)
        watch = Watch(15.0, reins, log=log, monotonic=lambda: now)
        await rig.until(await rig.queue.enqueue(KEY, {}), ("running",))
        assert consumer.busy == 1
        now = 11.0
        watch.look()
        async with asyncio.timeout(30):
            while consumer.busy:
                await asyncio.sleep(0.02)
        now = 14.5
        watch.look()
    assert left == []


async def test_progress_may_be_told_inside_the_jobs_own_transaction(database, log):
    async def handler(job):
        async with job.transaction():
            await job.progress(1, 2)

    async with Rig(database, log, handler) as rig:
        row = await rig.until(await rig.queue.enqueue(KEY, {}))
    assert (row.state, row.progress["done"]) == ("succeeded", 1)


async def test_a_cancelled_job_whose_handler_does_not_listen_is_cancelled_by_the_drain(database, log):
    stop = asyncio.Event()

    async def handler(job):
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    async with Rig(database, log, handler) as rig:
        job = await rig.queue.enqueue(KEY, {})
        await rig.until(job, ("running",))
        async with database.begin() as connection:
            await cancel_job(connection, job.id)
        await rig.consumer.drain(0.5)
        row = await rig.row(job)
        stop.set()
    assert row.state == "cancelled"


async def test_a_lost_answer_to_a_commit_waits_for_the_database_to_come_back(database, log, monkeypatch):
    async def handler(job):
        return None

    rig = Rig(database, log, handler)
    insert, connect, loop = database.hot.insert, database.connect, asyncio.get_running_loop()
    away_until = loop.time()

    async def lossy(news):
        nonlocal away_until
        await insert(news)
        away_until = loop.time() + 0.5
        lost = StoreUnavailableError("the answer was lost")
        lost.unsure = True
        raise lost

    @asynccontextmanager
    async def away():
        if loop.time() < away_until:
            raise StoreUnavailableError("restarting")
        async with connect() as connection:
            yield connection

    monkeypatch.setattr(database.hot, "insert", lossy)
    monkeypatch.setattr(database, "connect", away)
    job = await rig.queue.enqueue(KEY, {})
    assert (await rig.row(job)).state == "pending"


async def test_a_mapping_inside_a_payload_is_refused_in_words(database, log):
    async def handler(job):
        return None

    with pytest.raises(Exception, match="not JSON"):
        await Rig(database, log, handler).queue.enqueue(KEY, {"a": MappingProxyType({"b": object()})})


async def test_a_beat_that_comes_after_the_goodbye_does_not_bring_the_node_back(database, log):
    record = NodeRecord(new_id(), "n", KEY, False, [KEY], "0", {})
    async with database.begin() as connection:
        await register_node(connection, record, lease_seconds=15, state="draining")
    beat = Beat(database.open_sync, record, Timing(3, 15, 2), renewed=lambda sent_at: None, log=log)
    beat.state = "draining"
    async with database.begin() as connection:
        await leave_cluster(connection, record.id)
    await asyncio.to_thread(beat.beat_once)
    async with database.connect() as connection:
        assert await live_nodes(connection) == []


async def test_pending_jobs_and_history_are_listed_together(database, log):
    async def handler(job):
        return None

    async with Rig(database, log, handler) as rig:
        done = await rig.queue.enqueue(KEY, {})
        await rig.until(done)
        rig.consumer.stop_claiming()
        waiting = await rig.queue.enqueue(KEY, {})
        async with database.connect() as connection:
            page = await list_jobs(connection)
    assert [row.id for row in page.items] == [waiting.id, done.id]
