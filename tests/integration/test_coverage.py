"""Who serves what, what people ask of keys and nodes, and why a job waits; on both databases."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from integration.queue_bench import KEY, claim, join_node, make_consumer, make_queue, read_job, settle, until
from sqlalchemy import delete, insert, update

from nocohost.api.errors import NodeConflictError, NodeNotFoundError, UnknownKeyError
from nocohost.api.job import Job
from nocohost.api.service import JobType, Service
from nocohost.node.identity import new_id
from nocohost.store.census import known_nodes
from nocohost.store.coverage import COUNTED, Glimpse, KeyCoverage, glimpse, read_coverage
from nocohost.store.database import SqlDatabase
from nocohost.store.explain import explain_job
from nocohost.store.glance import glance
from nocohost.store.keys import count_released, drain_key, note_served, pause_key, require_key, resume_key
from nocohost.store.node_orders import find_node, quiet_node, resume_node, stop_node
from nocohost.store.nodes import NodeRecord, leave_cluster, register_node, set_node_state
from nocohost.store.schema import jobs, keys, limits, nodes
from nocohost.store.types import db_after, db_now

OTHER = "shop:mail"
DECLARED = {KEY: "acme-shop"}


async def seen(database: SqlDatabase) -> Glimpse:
    async with glance(database) as connection:
        return await glimpse(connection)


async def covered(database: SqlDatabase, key: str = KEY) -> KeyCoverage:
    async with database.connect() as connection:
        found = {one.key: one for one in await read_coverage(connection, DECLARED)}
    return found[key]


async def change(database: SqlDatabase, operate: Any, *arguments: Any, **options: Any) -> Any:
    """Call a function of the store within a write transaction."""
    async with database.begin() as connection:
        return await operate(connection, *arguments, **options)


async def join(database: SqlDatabase, name: str, *served: str, mode: str = "*", state: str = "serving") -> str:
    record = NodeRecord(new_id(), name, mode, False, served, "1.0", {"acme-shop": "1.0"})
    await change(database, register_node, record, lease_seconds=60, state=state)
    return record.id


async def reasons(database: SqlDatabase, job_id: str, **declared: str) -> dict[str, str]:
    """Return the reasons of a job, by code."""
    async with database.connect() as connection:
        told = (await explain_job(connection, job_id, declared or DECLARED)).as_json()
    assert told["id"] == job_id
    return {one["code"]: one["message"] for one in told["reasons"]}


async def test_a_key_goes_from_unserved_to_served_to_gone(database: SqlDatabase) -> None:
    assert (await covered(database)).state == "unserved"
    node = await join(database, "left", KEY)
    await change(database, note_served, [KEY])
    one = await covered(database)
    assert (one.state, one.nodes) == ("served", (node,))
    assert one.row.first_served_at is not None
    assert one.row.last_served_at is not None
    await change(database, set_node_state, node, "draining")
    assert (await covered(database)).state == "gone"
    await change(database, set_node_state, node, "serving")
    await change(database, leave_cluster, node)
    assert (await covered(database)).state == "gone"


async def test_a_node_that_should_serve_a_key_and_does_not_has_it_quarantined(database: SqlDatabase) -> None:
    await join(database, "without", mode="!,-shop:invoice,*")
    assert (await covered(database)).state == "unserved"
    await join(database, "left", mode="*")
    assert (await covered(database)).state == "quarantined"
    await join(database, "right", KEY)
    assert (await covered(database)).state == "served"


async def test_the_numbers_of_a_key(database: SqlDatabase) -> None:
    node, gone = await join(database, "left", KEY), await join(database, "lost", KEY)
    queue = make_queue(database, JobType(KEY))
    for _ in range(4):
        await queue.enqueue(KEY, {})
    await queue.enqueue(KEY, {}, run_at=datetime.now(UTC) + timedelta(hours=1))
    await claim(database, node)
    await claim(database, gone)
    await change(database, leave_cluster, gone)
    async with database.begin() as connection:
        await connection.execute(update(jobs).where(jobs.c.state == "pending").values(run_at=db_after(-90)))
        await connection.execute(update(jobs).where(jobs.c.id == (await later(connection))).values(run_at=db_after(60)))
    one = await covered(database)
    assert (one.pending, one.due, one.running, one.orphans, one.nodes) == (3, 2, 2, 1, (node,))
    assert 89 < one.oldest_seconds < 120


async def later(connection: Any) -> Any:
    pending = jobs.select().where(jobs.c.state == "pending").order_by(jobs.c.id.desc()).limit(1)
    return (await connection.execute(pending)).one().id


async def test_a_glimpse_shows_due_work_that_nobody_serves_and_nothing_else(database: SqlDatabase) -> None:
    assert await seen(database) == Glimpse(frozenset(), {})
    queue = make_queue(database, JobType(KEY), JobType(OTHER), JobType("shop:invoices"), JobType("a:b"))
    await queue.enqueue_many(KEY, [{}, {}])
    await queue.enqueue(KEY, {}, group="left")
    await queue.enqueue(OTHER, {}, group="left")
    await queue.enqueue("a:b", {}, run_at=datetime.now(UTC) + timedelta(hours=1))
    assert await seen(database) == Glimpse(frozenset(), {KEY: 3, OTHER: 1})
    first = await join(database, "left", "shop:invoices", "shop:invoic")
    quiet = await join(database, "quiet", KEY, state="quiet")
    assert await seen(database) == Glimpse(frozenset({"shop:invoices", "shop:invoic"}), {KEY: 3, OTHER: 1}, first)
    await change(database, resume_node, quiet)
    await change(database, pause_key, OTHER, "ada")
    assert await seen(database) == Glimpse(frozenset({"shop:invoices", "shop:invoic", KEY}), {}, first)
    await change(database, leave_cluster, first)
    assert (await seen(database)).first == quiet, "whoever lives may speak, quiet or not"
    await change(database, resume_key, OTHER)
    async with database.begin() as connection:
        await connection.execute(update(nodes).values(lease_until=db_after(-1)))
    assert await seen(database) == Glimpse(frozenset(), {KEY: 3, OTHER: 1})


async def test_a_glimpse_counts_no_further_than_it_must(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY))
    await queue.enqueue_many(KEY, [{}] * (COUNTED + 5))
    assert (await seen(database)).unserved == {KEY: COUNTED}


async def test_stamps_of_served_keys_are_written_once_a_minute(database: SqlDatabase) -> None:
    await change(database, pause_key, OTHER, "ada")
    await change(database, note_served, [])
    await change(database, note_served, [KEY, OTHER])
    first = (await covered(database, OTHER)).row
    assert first.first_served_at is not None
    assert first.paused_by == "ada", "a stamp leaves a pause alone"
    await change(database, note_served, [OTHER, KEY])
    assert (await covered(database, OTHER)).row == first
    async with database.begin() as connection:
        await connection.execute(update(keys).values(last_served_at=db_after(-51), first_served_at=db_after(-500)))
    await change(database, note_served, [OTHER])
    again = (await covered(database, OTHER)).row
    assert again.last_served_at is not None
    assert again.first_served_at is not None
    assert (again.last_served_at - again.first_served_at).total_seconds() == pytest.approx(500, abs=5)


async def test_a_paused_key_is_claimed_by_nobody_until_it_is_resumed(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    await make_queue(database, JobType(KEY)).enqueue(KEY, {})
    await change(database, pause_key, KEY, "ada")
    first = (await covered(database)).row
    await change(database, pause_key, KEY, "bob")
    one = await covered(database)
    assert (one.state, one.row.paused_by, one.row.paused_at) == ("paused", "ada", first.paused_at)
    assert await claim(database, node) == []
    await change(database, resume_key, KEY)
    assert (await covered(database)).row.paused_at is None
    assert len(await claim(database, node)) == 1
    await change(database, pause_key, KEY, "bob")
    assert (await covered(database)).row.paused_by == "bob"


async def test_what_runs_past_the_deadline_of_a_drain_is_released_uncharged(database: SqlDatabase) -> None:
    begun, ended = asyncio.Event(), []

    async def handler(job: Job) -> None:
        if job.payload["slow"]:
            begun.set()
            await asyncio.sleep(60)
        ended.append(job.id)

    node = await join_node(database)
    queue = make_queue(database, JobType(KEY))
    consumer = make_consumer(database, node, Service(KEY, handler))
    running = asyncio.create_task(consumer.run())
    try:
        slow = await queue.enqueue(KEY, {"slow": True})
        await begun.wait()
        held = await change(database, drain_key, KEY, "ada", within_seconds=0.3)
        assert held == [slow.id]
        after = await queue.enqueue(KEY, {"slow": False})

        async def released() -> bool:
            return (await read_job(database, slow.id)).state == "pending"

        await until(released)
        async with database.connect() as connection:
            assert await count_released(connection, held) == 1
        row = await read_job(database, slow.id)
        assert (row.attempts, row.losses, row.fence) == (0, 0, 1)
        assert ended == []
        assert (await covered(database)).running == 0
        await change(database, resume_key, KEY)
        assert (await covered(database)).row.drain_until is None

        async def second() -> bool:
            return after.id in ended

        await until(second)
    finally:
        await consumer.drain(0.0)
        await running


async def test_a_key_that_nobody_knows_is_refused_with_a_suggestion(database: SqlDatabase) -> None:
    async with database.connect() as connection:
        await require_key(connection, KEY, DECLARED)
        with pytest.raises(UnknownKeyError, match="shop:invoice"):
            await require_key(connection, "shop:invoise", DECLARED)
    await make_queue(database, JobType(OTHER)).enqueue(OTHER, {})
    async with database.connect() as connection:
        await require_key(connection, OTHER, DECLARED)


async def test_a_node_is_found_by_id_name_or_the_beginning_of_either(database: SqlDatabase) -> None:
    old = await join(database, "left", KEY)
    await change(database, leave_cluster, old)
    left, right = await join(database, "left", KEY), await join(database, "right-1", KEY)
    await join(database, "right-2", KEY)
    async with database.connect() as connection:
        for text, node in ((left, left), ("left", left), ("le", left), ("right-1", right), (old, old)):
            assert (await find_node(connection, text)).id == node, text
        with pytest.raises(NodeConflictError, match="may mean 2 nodes") as error:
            await find_node(connection, "right")
        assert error.value.code == "node.conflict"
        for text in ("middle", "", "%"):
            with pytest.raises(NodeNotFoundError) as missing:
                await find_node(connection, text)
            assert missing.value.code == "node.not_found"


async def test_a_quiet_node_claims_nothing_and_keeps_what_it_has(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    await make_queue(database, JobType(KEY)).enqueue_many(KEY, [{}, {}])
    (held,) = await claim(database, node)
    assert (await change(database, quiet_node, node)).state == "quiet"
    assert (await change(database, quiet_node, node)).state == "quiet"
    assert await claim(database, node) == []
    async with database.connect() as connection:
        (row,) = await known_nodes(connection, node)
    assert (row.state, row.running) == ("quiet", 1)
    assert await settle(database, held)
    assert (await change(database, resume_node, node)).state == "serving"
    assert len(await claim(database, node)) == 1


async def test_only_a_node_that_lives_obeys(database: SqlDatabase) -> None:
    node, starting = await join(database, "left", KEY), await join(database, "new", KEY, state="starting")
    assert (await change(database, stop_node, starting)).stop_requested
    with pytest.raises(NodeConflictError, match="is starting"):
        await change(database, quiet_node, starting)
    assert (await change(database, stop_node, node)).stop_requested
    await change(database, set_node_state, node, "draining")
    assert (await change(database, stop_node, node)).state == "draining"
    async with database.begin() as connection:
        await connection.execute(update(nodes).values(lease_until=db_now()))
    for order in (quiet_node, resume_node, stop_node):
        with pytest.raises(NodeConflictError, match="is lost"):
            await change(database, order, node)
        with pytest.raises(NodeNotFoundError):
            await change(database, order, new_id())


async def test_a_pending_job_tells_everything_that_holds_it_back(database: SqlDatabase) -> None:
    queue = make_queue(database, JobType(KEY))
    first = await queue.enqueue(KEY, {}, group="left")
    job = await queue.enqueue(KEY, {}, group="left", run_at=datetime.now(UTC) + timedelta(hours=1))
    await change(database, pause_key, KEY, "ada")
    told = await reasons(database, job.id)
    assert list(told) == ["unserved", "paused", "not_due", "group_busy"]
    assert "no node has ever served shop:invoice" in told["unserved"]
    assert "by ada" in told["paused"]
    assert "nocohost queue resume shop:invoice" in told["paused"]
    assert first.id in told["group_busy"]
    assert "group_busy" not in await reasons(database, first.id)
    node = await join(database, "left", KEY)
    await change(database, resume_key, KEY)
    await claim(database, node)
    assert list(await reasons(database, job.id)) == ["not_due", "group_busy"]


async def test_unserved_says_who_could_serve_it(database: SqlDatabase) -> None:
    job = await make_queue(database, JobType(KEY)).enqueue(KEY, {})
    await change(database, note_served, [KEY])
    assert re.search(
        r"no live node has served shop:invoice since 2\S+Z;", (await reasons(database, job.id))["unserved"]
    )
    await join(database, "broken", mode="*")
    assert "broken should serve" in (await reasons(database, job.id))["unserved"]
    told = await reasons(database, job.id, **{KEY: "acme-billing"})
    assert list(told) == ["unserved", "version"]
    assert "the mode of broken covers shop:invoice, and the image there is without acme-billing" in told["version"]
    quiet = await join(database, "silent", KEY, state="quiet")
    assert "silent (quiet)" in (await reasons(database, job.id))["unserved"]
    await change(database, resume_node, quiet)
    assert "it waits for a free slot of silent: 0 jobs" in (await reasons(database, job.id))["limit"]


async def test_a_job_between_its_attempts_is_backing_off(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    job = await make_queue(database, JobType(KEY)).enqueue(KEY, {})
    (row,) = await claim(database, node)
    await settle(database, row, "pending", error="ValueError: no order\nmore", charge=True, delay_seconds=60)
    told = await reasons(database, job.id)
    assert list(told) == ["backing_off"]
    assert "attempt 1 failed: ValueError: no order; the next one comes at 2" in told["backing_off"]


async def test_limits_of_the_cluster_are_named(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    queue = make_queue(database, JobType(KEY))
    await queue.enqueue(KEY, {}, priority=-1)
    await claim(database, node)
    job = await queue.enqueue(KEY, {})
    assert "1 jobs of shop:invoice run, 0 are before it" in (await reasons(database, job.id))["limit"]
    row = {"key": KEY, "concurrency": 1, "rate_count": 5, "rate_seconds": 3600.0, "available": 0.5}
    async with database.begin() as connection:
        await connection.execute(insert(limits).values(**row, refilled_at=db_now()))
    async with database.connect() as connection:
        told = (await explain_job(connection, job.id, DECLARED)).reasons
    assert [one.code for one in told] == ["limit", "limit"]
    assert "cluster_concurrency" in told[0].message
    assert "5 jobs in 3600 s" in told[1].message


async def test_a_running_job_says_where_and_an_orphan_that_nobody_frees_says_so(database: SqlDatabase) -> None:
    node = await join(database, "left", KEY)
    job = await make_queue(database, JobType(KEY)).enqueue(KEY, {})
    (row,) = await claim(database, node)
    assert f"on node {node}" in (await reasons(database, job.id))["running"]
    await change(database, drain_key, KEY, "ada", within_seconds=60)
    assert list(await reasons(database, job.id)) == ["running", "paused"]
    await change(database, resume_key, KEY)
    async with database.begin() as connection:
        await connection.execute(delete(nodes))
    told = await reasons(database, job.id)
    assert list(told) == ["running", "unserved"]
    assert "orphan" in told["running"]
    await join(database, "left", KEY)
    assert list(await reasons(database, job.id)) == ["running"]
    assert await settle(database, row, "dead", error="never")
    told = await reasons(database, job.id)
    assert list(told) == ["finished"]
    assert f"dead letter at 2{told['finished'].partition(' at 2')[2]}" in told["finished"]
    assert f": never; nocohost jobs retry {job.id}" in told["finished"]
