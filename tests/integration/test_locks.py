"""Locks over the cluster, between nodes of one process, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from integration.lock_bench import NAME, Deaf, deaf_nodes, row_of
from integration.test_hints import listening
from sqlalchemy import event, insert, select, update

from nocohost.api.errors import LockTimeoutError, NestedWriteError, QueueError
from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.store.database import SqlDatabase
from nocohost.store.locks import LeaseLocks
from nocohost.store.schema import limits


@pytest.fixture
async def deaf(database: SqlDatabase, log: Log) -> AsyncIterator[Deaf]:
    async with deaf_nodes(database, log) as make:
        yield make


@asynccontextmanager
async def cluster(database: SqlDatabase, log: Log, count: int) -> AsyncIterator[list[LeaseLocks]]:
    """The locks of as many nodes, which hear each other."""
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(count):
            hints = await stack.enter_async_context(listening(database, log))
            node = LeaseLocks(database, hints, node_id=new_id(), clock=SystemClock(), log=log)
            stack.push_async_callback(node.close)
            nodes.append(node)
        yield nodes


async def test_a_lock_is_held_for_the_block_and_its_fence_rises(deaf: Deaf, database: SqlDatabase) -> None:
    node = deaf()
    for fence in (1, 2, 3):
        async with node.acquire(NAME) as lock:
            assert (lock.fence, lock.is_held) == (fence, True)
            row = await row_of(database)
            assert row.holder is not None
            assert (row.fence, row.node_id) == (fence, node.node_id)
        assert not lock.is_held
        row = await row_of(database)
        assert (row.holder, row.lease_until, row.fence) == (None, None, fence)


async def test_names_do_not_meet(deaf: Deaf) -> None:
    node = deaf()
    async with node.acquire("a", wait_seconds=0) as one, node.acquire("b", wait_seconds=0) as other:
        assert (one.fence, other.fence) == (1, 1)


async def test_an_exception_frees_the_lock_and_passes(deaf: Deaf) -> None:
    node = deaf()

    async def fail() -> None:
        async with node.acquire(NAME):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with node.acquire(NAME, wait_seconds=0):
        pass


async def test_a_task_that_is_cancelled_frees_the_lock_wherever_it_stands(deaf: Deaf) -> None:
    node, other = deaf(), deaf()

    async def hold() -> None:
        async with node.acquire(NAME):
            await asyncio.sleep(60)

    for turns in range(0, 40, 2):
        task = asyncio.create_task(hold())
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns > 30:
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await node.close()
        async with other.acquire(NAME, wait_seconds=0):
            pass


@pytest.mark.parametrize("same_node", [True, False])
async def test_whoever_waits_too_long_is_told(deaf: Deaf, same_node: bool) -> None:
    node = deaf()
    other = node if same_node else deaf()

    async def take(seconds: float) -> None:
        async with other.acquire(NAME, wait_seconds=seconds):
            pass

    async with node.acquire(NAME):
        for seconds in (0.0, 0.05):
            with pytest.raises(LockTimeoutError, match=f"{NAME}.*not free within {seconds:g} s"):
                await asyncio.create_task(take(seconds))
    await asyncio.create_task(take(0.0))


async def test_whoever_waits_is_woken_when_the_lock_is_freed(
    database: SqlDatabase, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nocohost.store.locks.POLL_SECONDS", 60.0)
    async with cluster(database, log, 2) as (one, other):
        order = []

        async def take() -> None:
            async with other.acquire(NAME, wait_seconds=300):
                order.append("taken")

        async with one.acquire(NAME, lease_seconds=300):
            task = asyncio.create_task(take())
            await asyncio.sleep(0.1)
            order.append("freed")
        await asyncio.wait_for(task, 30)  # by polling alone it takes a minute
        assert order == ["freed", "taken"]


async def test_without_hints_polling_finds_the_lock(deaf: Deaf) -> None:
    one, other = deaf(), deaf()
    async with one.acquire(NAME):
        task = asyncio.create_task(other.acquire(NAME, wait_seconds=30).__aenter__())
        await asyncio.sleep(0.1)
    assert (await asyncio.wait_for(task, 30)).fence == 2


async def test_tasks_of_one_node_take_turns_in_the_order_in_which_they_asked(deaf: Deaf) -> None:
    node, order = deaf(), []

    async def take(number: int) -> None:
        async with node.acquire(NAME) as lock:
            order.append((number, lock.fence))

    await asyncio.gather(*(take(number) for number in range(10)))
    assert order == [(number, number + 1) for number in range(10)]


async def test_a_counter_under_the_lock_counts_right_on_several_nodes(database: SqlDatabase, log: Log) -> None:
    """Read, wait, write: every pair that meets loses a count."""
    async with cluster(database, log, 3) as nodes:
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="counter", concurrency=0))
        fences: list[int] = []
        query = select(limits.c.concurrency).where(limits.c.key == "counter")

        async def count(node: LeaseLocks) -> None:
            for _ in range(3):
                async with node.acquire(NAME) as lock:
                    async with database.connect() as connection:
                        value = (await connection.execute(query)).scalar_one()
                    await asyncio.sleep(0)
                    async with database.begin() as connection:
                        await connection.execute(update(limits).values(concurrency=value + 1))
                    fences.append(lock.fence)

        await asyncio.gather(*(count(node) for node in nodes for _ in range(4)))
        async with database.connect() as connection:
            assert (await connection.execute(query)).scalar_one() == 36
        assert fences == list(range(1, 37))


async def test_a_lock_whose_lease_has_ended_is_taken(deaf: Deaf) -> None:
    gone, other = deaf(), deaf()
    lost = asyncio.create_task(gone.acquire(NAME, lease_seconds=1.0).__aenter__())
    held = await lost
    for task in asyncio.all_tasks():
        if task.get_name() == f"lock {NAME}":
            task.cancel()  # the node of this lock is dead: nobody renews it
    async with other.acquire(NAME, wait_seconds=10) as lock:
        assert lock.fence == held.fence + 1


async def test_a_task_may_not_take_a_lock_twice_nor_inside_a_write(deaf: Deaf, database: SqlDatabase) -> None:
    node = deaf()
    async with node.acquire(NAME):
        with pytest.raises(LockTimeoutError, match="already holds"):
            await node.acquire(NAME).__aenter__()
    if database.dialect == "sqlite":
        async with database.begin():
            with pytest.raises(NestedWriteError, match=NAME):
                await node.acquire(NAME).__aenter__()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": ""}, "name of a lock"),
        ({"name": "x" * 201}, "name of a lock"),
        ({"name": "a\0b"}, "name of a lock"),
        ({"name": 7}, "name of a lock"),
        ({"name": "a", "lease_seconds": 0.5}, "lease of 0.5 s"),
        ({"name": "a", "lease_seconds": float("nan")}, "lease of nan s"),
        ({"name": "a", "lease_seconds": float("inf")}, "lease of inf s"),
        ({"name": "a", "wait_seconds": -1}, "wait -1 s"),
        ({"name": "a", "wait_seconds": float("nan")}, "wait nan s"),
    ],
)
async def test_what_cannot_be_is_refused(deaf: Deaf, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(QueueError, match=said):
        deaf().acquire(**arguments)


async def test_a_lock_costs_two_statements(deaf: Deaf, database: SqlDatabase) -> None:
    node, statements = deaf(), []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "nocohost_locks" in statement:
            statements.append(statement.split()[0])

    event.listen(database._engine.sync_engine, "before_cursor_execute", note)
    async with node.acquire(NAME):
        pass
    assert statements == ["INSERT", "UPDATE"]
