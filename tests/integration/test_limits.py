"""Limits for the whole cluster: never exceeded, by whatever many nodes do at once, and no slot lost with its node."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from integration.queue_bench import KEY, claim, join_node, make_consumer, make_queue, make_sweep, settle, until
from sqlalchemy import event, func, select, update

from nocohost.api.job import Job
from nocohost.api.service import JobType, Rate, Service
from nocohost.node.identity import new_claim_id
from nocohost.queue.consumer import Consumer
from nocohost.queue.limits import declared_limits
from nocohost.store.database import SqlDatabase
from nocohost.store.hot.values import LOWEST_FLOOR, ClaimedJob, Want
from nocohost.store.limits import Limit, LimitedClaim, claim_limited, declare_limits
from nocohost.store.nodes import leave_cluster
from nocohost.store.schema import history, jobs, keys, limits, nodes
from nocohost.store.types import db_after, db_now
from nocohost.testing.clock import FakeClock

LIMITS: Mapping[str, int] = {"one:job": 1, "three:jobs": 3, "ten:jobs": 10}


async def declare(database: SqlDatabase, *declared: Limit) -> None:
    async with database.begin() as connection:
        await declare_limits(connection, declared)


async def limited(database: SqlDatabase, node: str, *wants: Want) -> LimitedClaim:
    return await claim_limited(database, node, new_claim_id(), wants or [Want(KEY, 5)])


@dataclass
class Running:
    """What handlers of a key run at this moment, over all nodes, and how many ran at most."""

    now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    async def handle(self, job: Job) -> None:
        self.now[job.key] += 1
        self.most[job.key] = max(self.most[job.key], self.now[job.key])
        try:
            await asyncio.sleep(0.003)
        finally:
            self.now[job.key] -= 1
        self.done[job.key] += 1


class Node:
    """A consumer with a sweep, and a way to die without a word."""

    def __init__(self, database: SqlDatabase, node_id: str, services: Mapping[str, Service]) -> None:
        self.id = node_id
        self._database = database
        self.consumer = make_consumer(database, node_id, *services.values(), poll_seconds=0.05)
        self._sweep = make_sweep(database, node_id, *services)
        self._tasks = [asyncio.create_task(self.consumer.run()), asyncio.create_task(self._sweep.run())]

    async def kill(self) -> None:
        """End every task as the death of a process does; the lease ends later, as a heartbeat's absence would."""
        attempts = [one.task for one in self.consumer._running.values() if one.task is not None]
        self.consumer._attempts.give_up()
        for task in (*self._tasks, *attempts):
            task.cancel()
        await asyncio.gather(*self._tasks, *attempts, return_exceptions=True)
        async with self._database.begin() as connection:
            await connection.execute(update(nodes).where(nodes.c.id == self.id).values(lease_until=db_after(0.05)))

    async def stop(self) -> None:
        self._tasks[1].cancel()
        await self.consumer.drain(0.0)
        await asyncio.wait_for(self._tasks[0], 10)


async def test_no_limit_is_exceeded_and_no_slot_lost_while_nodes_die(database: SqlDatabase) -> None:
    running = Running()
    services = {
        key: Service(key, running.handle, concurrency=5, cluster_concurrency=count) for key, count in LIMITS.items()
    }
    await declare(database, *declared_limits(services))
    queue = make_queue(database, *(JobType(key) for key in LIMITS))
    for key in LIMITS:
        await queue.enqueue_many(key, [{}] * (150 if key == "ten:jobs" else 60))

    async def start() -> Node:
        return Node(database, await join_node(database, keys=tuple(LIMITS)), services)

    cluster = [await start() for _ in range(4)]
    killed_running = 0
    try:
        for _ in range(8):
            for _ in range(20):
                await asyncio.sleep(0.01)
                victim = max(cluster, key=lambda node: len(node.consumer._running))
                if victim.consumer._running:
                    break  # else the kills may meet idle nodes
            cluster.remove(victim)
            killed_running += len(victim.consumer._running)
            await victim.kill()
            cluster.append(await start())
        for key in LIMITS:
            await queue.enqueue(key, {})

        async def is_done() -> bool:
            async with database.connect() as connection:
                return not await connection.scalar(select(func.count()).select_from(jobs))

        await until(is_done, 40)
    finally:
        for node in cluster:
            await node.stop()
    assert all(running.most[key] <= count for key, count in LIMITS.items()), running.most
    assert running.most["three:jobs"] == 3
    assert killed_running, "the kills met no running job"
    async with database.connect() as connection:
        states = await connection.execute(select(history.c.state, func.count()).group_by(history.c.state))
        assert dict(tuple(row) for row in states) == {"succeeded": 273}
        assert await connection.scalar(select(func.sum(history.c.losses))) >= 1


async def test_a_slot_is_free_when_the_sweep_has_moved_the_claim_and_not_before(database: SqlDatabase) -> None:
    """A node that comes back from beyond its lease still holds its jobs, so its slots must not be given away."""
    await declare(database, Limit(KEY, 1))
    await make_queue(database).enqueue_many(KEY, [{}] * 3)
    lost, other = await join_node(database), await join_node(database)
    (old,) = (await limited(database, lost)).jobs
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == lost).values(lease_until=db_after(-1)))
    assert await limited(database, other) == ([], {KEY: None}, frozenset())
    await make_sweep(database, other).turn()
    (new,) = (await limited(database, other)).jobs
    assert not await settle(database, old)
    assert await settle(database, new)


async def test_claims_of_many_nodes_at_once_take_no_more_than_the_limit(database: SqlDatabase) -> None:
    await declare(database, Limit(KEY, 4))
    await make_queue(database).enqueue_many(KEY, [{}] * 40)
    cluster = [await join_node(database) for _ in range(4)]
    taken: list[ClaimedJob] = []
    for _ in range(10):
        found = await asyncio.gather(*(limited(database, node, Want(KEY, 3)) for node in cluster))
        taken += [job for one in found for job in one.jobs]
        assert len(taken) <= 4
    assert len(taken) == 4
    await settle(database, taken[0])
    found = await asyncio.gather(*(limited(database, node, Want(KEY, 3)) for node in cluster))
    assert sum(len(one.jobs) for one in found) <= 1


async def test_a_rate_is_not_exceeded_over_any_window(database: SqlDatabase) -> None:
    running = Running()
    service = Service(KEY, running.handle, concurrency=10, rate=Rate(5, 0.25))
    await declare(database, *declared_limits({KEY: service}))
    queue = make_queue(database)
    cluster = [Node(database, await join_node(database), {KEY: service}) for _ in range(3)]
    try:
        await queue.enqueue_many(KEY, [{}] * 20)

        async def is_done() -> bool:  # outcomes written too: a stop with no time at all hands back what is not
            return running.done[KEY] == 20 and all(node.consumer.is_idle for node in cluster)

        await until(is_done, 20)
    finally:
        for node in cluster:
            await node.stop()
    async with database.connect() as connection:
        starts = list(await connection.scalars(select(history.c.started_at).order_by(history.c.started_at)))
    assert len(starts) == 20
    for first, begin in enumerate(starts):
        for last, end in enumerate(starts[first:], first):
            seconds = (end - begin).total_seconds()
            assert last - first + 1 <= 5 + seconds * 20 + 1e-3, (first, last, seconds)
    assert (starts[-1] - starts[0]).total_seconds() >= 15 / 20 - 1e-3


async def test_tokens_come_back_with_time_and_not_with_a_restart(database: SqlDatabase) -> None:
    await declare(database, Limit(KEY, None, 3, 30.0))
    await make_queue(database).enqueue_many(KEY, [{}] * 9)
    node = await join_node(database)
    first = await limited(database, node)
    assert len(first.jobs) == 3
    assert first.held_back[KEY] == pytest.approx(10.0, abs=0.5)
    await declare(database, Limit(KEY, None, 3, 30.0))
    assert (await limited(database, node)).jobs == []
    async with database.begin() as connection:
        await connection.execute(update(limits).values(refilled_at=db_after(-10.5)))
    assert len((await limited(database, node)).jobs) == 1
    await declare(database, Limit(KEY, None, 2, 30.0))
    async with database.begin() as connection:
        await connection.execute(update(limits).values(refilled_at=db_after(-86400)))
    assert len((await limited(database, node)).jobs) == 2


async def test_the_newest_declaration_counts_and_a_limit_can_be_taken_back(database: SqlDatabase) -> None:
    async def stored() -> list[tuple[object, ...]]:
        async with database.connect() as connection:
            columns = (limits.c.key, limits.c.concurrency, limits.c.rate_count, limits.c.rate_seconds)
            return [tuple(row) for row in await connection.execute(select(*columns).order_by(limits.c.key))]

    await declare(database, Limit(KEY, 3), Limit("other:key", None, 5, 1.0), Limit("free:key", None))
    assert await stored() == [("other:key", None, 5, 1.0), (KEY, 3, None, None)]
    await declare(database, Limit(KEY, 2), Limit("other:key", 7, 5, 2.0))
    assert await stored() == [("other:key", 7, 5, 2.0), (KEY, 2, None, None)]
    await declare(database, Limit("other:key", None))
    assert await stored() == [(KEY, 2, None, None)]
    assert (await limited(database, await join_node(database), Want("other:key", 1))).unlimited == {"other:key"}


async def test_a_node_learns_of_a_limit_that_a_newer_node_declares_and_of_one_taken_back(
    database: SqlDatabase,
) -> None:
    clock, running = FakeClock(), Running()
    consumer = make_consumer(database, await join_node(database), Service(KEY, running.handle), clock=clock)
    assert consumer._limits.split([Want(KEY, 1)], is_idle=False) == ([Want(KEY, 1)], [])
    await declare(database, Limit(KEY, 1))
    clock.advance(61)
    await consumer._limits.refresh()
    assert consumer._limits.split([Want(KEY, 1)], is_idle=False) == ([], [Want(KEY, 1)])
    await declare(database, Limit(KEY, None))
    assert await consumer._limits.claim(new_claim_id(), [Want(KEY, 1)]) == []
    assert consumer._limits.split([Want(KEY, 1)], is_idle=False) == ([Want(KEY, 1)], [])


async def test_limited_keys_obey_pauses_groups_priorities_leases_and_floors(database: SqlDatabase) -> None:
    await declare(database, Limit(KEY, 10))
    queue, node = make_queue(database), await join_node(database)
    for priority in (5, 1):
        await queue.enqueue(KEY, {"priority": priority}, priority=priority)
    for place in (1, 2):
        await queue.enqueue(KEY, {"group": place}, group="a", priority=3)
    async with database.begin() as connection:
        await connection.execute(keys.insert().values(key=KEY, paused_at=db_now()))
    assert (await limited(database, node)).jobs == []
    async with database.begin() as connection:
        await connection.execute(keys.delete())
    taken = (await limited(database, node, Want(KEY, 1, 4))).jobs
    assert [job.payload for job in taken] == [{"priority": 5}]
    taken = (await limited(database, node, Want(KEY, 5, LOWEST_FLOOR))).jobs
    assert [job.payload for job in taken] == [{"priority": 1}, {"group": 1}]
    assert (await limited(database, node)).jobs == []
    await settle(database, taken[1])
    async with database.begin() as connection:
        await leave_cluster(connection, node)
    assert (await limited(database, node)).jobs == []
    assert len((await limited(database, await join_node(database))).jobs) == 1


async def test_a_row_that_a_stuck_node_has_locked_holds_up_its_key_alone(database: SqlDatabase) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has one writer, whose turn has a time limit of its own")
    await declare(database, Limit(KEY, 1), Limit("other:key", 1))
    queue, node = make_queue(database, external=("other:key",)), await join_node(database)
    await queue.enqueue(KEY, {})
    await queue.enqueue("other:key", {})
    async with database.begin() as stuck:
        await stuck.execute(select(limits).where(limits.c.key == KEY).with_for_update())
        async with asyncio.timeout(30):
            found = await limited(database, node, Want(KEY, 1), Want("other:key", 1))
        assert [job.key for job in found.jobs] == ["other:key"]
        assert found.held_back == {KEY: 0.1}
    assert len((await limited(database, node)).jobs) == 1


async def test_unlimited_keys_never_touch_the_table_and_idle_limits_cost_one_look(database: SqlDatabase) -> None:
    statements: list[str] = []
    for engine in {database._engine.sync_engine, getattr(database, "_reading", database._engine).sync_engine}:
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    node, running = await join_node(database), Running()
    statements.clear()
    await turn(make_consumer(database, node, Service(KEY, running.handle), poll_seconds=60))
    assert not [one for one in statements if "nocohost_limits" in one]
    await declare(database, Limit(KEY, 1))
    statements.clear()
    consumer = make_consumer(
        database, node, Service(KEY, running.handle, cluster_concurrency=1), Service("other:key", running.handle)
    )
    for _ in range(4):
        await consumer._turn()
    looks = [one for one in statements if "nocohost_limits" in one]
    assert len(looks) == 2, "an idle node asks for its limited keys every other time, and the other times for the rest"
    assert not [one for one in looks if "FOR UPDATE" in one]


async def test_the_end_of_a_job_lets_the_next_of_a_limited_key_start_at_once(database: SqlDatabase) -> None:
    running = Running()
    await declare(database, Limit(KEY, 1))
    await make_queue(database).enqueue_many(KEY, [{}] * 4)
    service = Service(KEY, running.handle, cluster_concurrency=1)
    consumer = make_consumer(database, await join_node(database), service, poll_seconds=60.0)
    task = asyncio.create_task(consumer.run())

    async def is_done() -> bool:
        return running.done[KEY] == 4

    await until(is_done, 10)
    await consumer.drain(0.0)
    await task


async def test_a_full_node_goes_on_when_a_job_ends_however_long_it_was_full(database: SqlDatabase) -> None:
    """A look without a free slot must not make the node forget that work waits."""
    release, seen = asyncio.Event(), []

    async def handle(job: Job) -> None:
        seen.append(job.id)
        await release.wait()

    await make_queue(database).enqueue_many(KEY, [{}] * 2)
    consumer: Consumer = make_consumer(
        database, await join_node(database), Service(KEY, handle, concurrency=1), poll_seconds=60.0
    )
    await consumer._turn()
    await consumer._turn()
    assert KEY in consumer._backlog
    task = asyncio.create_task(consumer.run())
    release.set()

    async def both() -> bool:
        return len(seen) == 2

    await until(both, 5)
    await consumer.drain(5.0)
    await task
    assert await claim(database, await join_node(database)) == []


async def turn(consumer: Consumer) -> None:
    task = asyncio.create_task(consumer.run())
    await asyncio.sleep(0.05)
    await consumer.drain(0.0)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_clock_that_was_set_back_does_not_stop_a_rate_until_it_has_caught_up(database: SqlDatabase) -> None:
    node = await join_node(database)
    await declare(database, Limit(KEY, None, 1, 60.0))
    await make_queue(database).enqueue_many(KEY, [{}] * 3)
    assert len((await limited(database, node)).jobs) == 1
    async with database.begin() as connection:
        await connection.execute(update(limits).values(refilled_at=db_after(3600.0)))
    assert len((await limited(database, node)).jobs) == 1
    held = await limited(database, node)
    assert held.jobs == []
    assert 0 < (held.held_back[KEY] or 0) <= 60
    async with database.connect() as connection:
        assert (await connection.execute(select(limits.c.refilled_at <= db_now()))).scalar_one()
