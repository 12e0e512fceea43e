"""A node's queue parts for tests: enqueue, claim and run in this process, on whichever database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from prometheus_client import CollectorRegistry

from nocohost.api.app import App
from nocohost.api.clock import Clock
from nocohost.api.service import Backoff, JobType, Service
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_claim_id, new_id
from nocohost.queue.attempt import Attempts
from nocohost.queue.consumer import Consumer
from nocohost.queue.enqueue import JobQueue
from nocohost.queue.lookout import Lookout
from nocohost.queue.metrics import QueueMetrics
from nocohost.queue.sweep import Sweep
from nocohost.store.database import SqlDatabase
from nocohost.store.hot.values import ClaimedJob, Settlement, Want
from nocohost.store.jobs import JobRow, get_job
from nocohost.store.nodes import NodeRecord, register_node

LOG = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *event: ""])
KEY = "shop:invoice"
NO_WAIT = Backoff(seconds=0.0, jitter=0.0)


def node_record(node_id: str, keys: tuple[str, ...] = (KEY,)) -> NodeRecord:
    return NodeRecord(node_id, "test", "*", False, keys, "1.0", {})


async def join_node(database: SqlDatabase, *, keys: tuple[str, ...] = (KEY,), lease_seconds: float = 60.0) -> str:
    """Register a serving node and return its id."""
    node_id = new_id()
    async with database.begin() as connection:
        await register_node(connection, node_record(node_id, keys), lease_seconds=lease_seconds, state="serving")
    return node_id


def make_queue(
    database: SqlDatabase, *types: JobType, external: tuple[str, ...] = (), lookout: Lookout | None = None
) -> JobQueue:
    declared = {one.key: one for one in types or (JobType(KEY),)}
    return JobQueue(
        database, declared.get, keys=declared, external_keys=external, payload_bytes=262_144, lookout=lookout
    )


async def claim(database: SqlDatabase, node: str, key: str = KEY, count: int = 1) -> list[ClaimedJob]:
    """Claim up to ``count`` jobs of ``key`` for a node."""
    return await database.hot.claim(node, new_claim_id(), [Want(key, count)])


async def settle(database: SqlDatabase, row: ClaimedJob, state: str = "succeeded", **more: Any) -> bool:
    """Settle one claimed job; False when the claim has moved."""
    return bool(await database.hot.settle([Settlement(row.id, row.claim_id, state, **more)]))


def make_consumer(
    database: SqlDatabase,
    node_id: str,
    *services: Service,
    types: Mapping[str, JobType] | None = None,
    clock: Clock | None = None,
    poll_seconds: float = 0.05,
    draw: Callable[[], float] = lambda: 1.0,
) -> Consumer:
    clock = clock or SystemClock()
    attempts = Attempts(
        database,
        (types or {}).get,
        cast("App", None),
        node_id=node_id,
        clock=clock,
        log=LOG,
        metrics=QueueMetrics(CollectorRegistry()),
    )
    served = {service.key: service for service in services}
    consumer = Consumer(database, node_id, served, attempts, clock=clock, log=LOG, poll_seconds=poll_seconds)
    consumer.draw = draw
    return consumer


def make_sweep(database: SqlDatabase, node_id: str, *keys: str, clock: Clock | None = None) -> Sweep:
    metrics = QueueMetrics(CollectorRegistry())
    return Sweep(
        database, node_id, keys or (KEY,), clock=clock or SystemClock(), log=LOG, metrics=metrics, sweep_seconds=0.1
    )


async def read_job(database: SqlDatabase, job_id: str) -> JobRow:
    async with database.connect() as connection:
        return await get_job(connection, job_id)


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """Wait until ``condition`` gives something true, and return it."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
    return found


async def until_state(database: SqlDatabase, job_id: str, *states: str) -> JobRow:
    """Wait until the job is in one of these states, and return it."""

    async def reached() -> JobRow | None:
        row = await read_job(database, job_id)
        return row if row.state in states else None

    return cast("JobRow", await until(reached))


@asynccontextmanager
async def consuming(consumer: Consumer) -> AsyncIterator[Consumer]:
    """Let a consumer run within the block."""
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        await consumer.drain(0.0)
        await asyncio.wait_for(running, 30)
