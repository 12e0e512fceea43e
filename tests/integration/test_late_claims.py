"""A claim whose answer comes late: what has moved on meanwhile is not started, the rest is."""

from collections.abc import Callable
from typing import Any

import pytest
from integration.queue_bench import (
    KEY,
    consuming,
    join_node,
    make_consumer,
    make_queue,
    make_sweep,
    read_job,
    until_state,
)

from nocohost.api.job import Job
from nocohost.api.service import Service
from nocohost.queue.consumer import LATE_SECONDS
from nocohost.store.database import SqlDatabase
from nocohost.store.nodes import leave_cluster
from nocohost.testing.clock import FakeClock


def delay_first_claim(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Any]) -> None:
    """Let ``meanwhile`` happen between the first claim and its answer."""
    claim, is_over = database.hot.claim, False

    async def late(*arguments: Any) -> Any:
        nonlocal is_over
        rows = await claim(*arguments)
        if rows and not is_over:
            is_over = True
            await meanwhile()
        return rows

    monkeypatch.setattr(database.hot, "claim", late)


async def test_a_node_that_froze_in_its_claim_does_not_start_what_others_have_freed(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, started = FakeClock(), []
    node, other = await join_node(database), await join_node(database)

    async def handler(job: Job) -> None:
        started.append(job.fence)

    async def freeze() -> None:
        clock.advance(LATE_SECONDS)
        async with database.begin() as connection:
            await leave_cluster(connection, node)  # its lease is over
        await make_sweep(database, other).turn()

    delay_first_claim(database, monkeypatch, freeze)
    consumer = make_consumer(database, node, Service(KEY, handler), clock=clock)
    job = await make_queue(database).enqueue(KEY, {})
    await consumer._turn()
    row = await read_job(database, job.id)
    assert (row.state, row.losses, consumer.is_idle, started) == ("pending", 1, True, [])


async def test_a_slow_database_only_makes_it_look_again(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    node = await join_node(database)

    async def handler(job: Job) -> None:
        """Succeed."""

    async def wait() -> None:
        clock.advance(LATE_SECONDS)

    delay_first_claim(database, monkeypatch, wait)
    job = await make_queue(database).enqueue(KEY, {})
    async with consuming(make_consumer(database, node, Service(KEY, handler), clock=clock)):
        assert (await until_state(database, job.id, "succeeded")).fence == 1
