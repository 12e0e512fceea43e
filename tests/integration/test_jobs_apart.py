"""Jobs that must run in a child of their own are taken by nodes that have a place for one; on both databases."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from integration.queue_bench import (
    KEY,
    claim,
    consuming,
    join_node,
    make_consumer,
    make_queue,
    read_job,
    settle,
    until,
    until_state,
)
from sqlalchemy import update

from nocohost.api.job import Job
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.node.identity import new_claim_id
from nocohost.queue.consumer import Consumer
from nocohost.store.database import SqlDatabase
from nocohost.store.explain import explain_job
from nocohost.store.hot.values import OldestLevel, Want
from nocohost.store.keys import pause_key, resume_key
from nocohost.store.limits import Limit, claim_limited, declare_limits
from nocohost.store.schema import jobs
from nocohost.store.types import db_after

OTHER = "other:key"
LOST_TWICE = {"losses": 2}
CRASHED = {"crashes": 1}


class Cell:
    """A room for children whose handlers end when they are told."""

    def __init__(self, places: int = 1) -> None:
        self.places = places
        self.orders: list[WorkOrder] = []
        self.open = asyncio.Event()

    async def run(self, service: Service, job: Job, order: WorkOrder) -> str:
        self.orders.append(order)
        await self.open.wait()
        return "apart"


async def on_the_loop(job: Job) -> str:
    return "on the loop"


def server(database: SqlDatabase, node: str, cell: Cell, **service: Any) -> Consumer:
    """Return the consumer of a node that does not look by itself within a test, only when it is woken."""
    consumer = make_consumer(database, node, Service(KEY, on_the_loop, **service), poll_seconds=3600)
    consumer._attempts.rooms = {"process": cell}
    return consumer


async def add(database: SqlDatabase, key: str = KEY, *, marks: dict[str, int] | None = None, **options: Any) -> str:
    """Enqueue a job that has been lost, or crashed, so often; return its id."""
    async with database.begin() as connection:
        job = await make_queue(database, external=(OTHER,)).enqueue(key, {}, connection=connection, **options)
        if marks:
            await connection.execute(update(jobs).where(jobs.c.id == job.id).values(**marks))
    return job.id


async def take(database: SqlDatabase, node: str, *wants: Want, places: int) -> list[str]:
    """Claim, and return the ids."""
    return [row.id for row in await database.hot.claim(node, new_claim_id(), wants, places)]


def by(ids: Iterable[str]) -> list[str]:
    return sorted(ids)


@pytest.mark.parametrize("marks", [LOST_TWICE, CRASHED])
async def test_a_node_without_a_place_passes_over_what_must_run_apart(
    database: SqlDatabase, marks: dict[str, int]
) -> None:
    node = await join_node(database)
    apart = await add(database, marks=marks)
    once, plain = await add(database, marks={"losses": 1}), await add(database)
    assert await take(database, node, Want(KEY, 9), places=0) == [once, plain]
    assert await take(database, node, Want(KEY, 9), places=0) == []
    assert await take(database, node, Want(KEY, 9), places=1) == [apart]


async def test_no_more_than_there_are_places_by_priority_over_all_keys(database: SqlDatabase) -> None:
    node = await join_node(database, keys=(KEY, OTHER))
    late, mid = [await add(database, marks=LOST_TWICE, priority=priority) for priority in (7, 5)]
    soon = [await add(database, OTHER, marks=CRASHED, priority=priority) for priority in (1, 6)]
    plain = await add(database, priority=9)
    wants = Want(KEY, 9), Want(OTHER, 9)
    assert await take(database, node, *wants, places=2) == [soon[0], mid, plain]
    assert await take(database, node, *wants, places=3) == [soon[1], late]


async def test_an_isolated_key_has_places_of_its_own(database: SqlDatabase) -> None:
    node = await join_node(database, keys=(KEY, OTHER))
    mine = by([await add(database, marks=marks) for marks in (LOST_TWICE, CRASHED, {"losses": 1})])
    grouped = await add(database, marks=CRASHED, group="a")
    other = await add(database, OTHER, marks=CRASHED)
    wants = Want(KEY, 9, isolated=True), Want(OTHER, 9)
    assert by(await take(database, node, *wants, places=0)) == by([*mine, grouped])
    assert await take(database, node, *wants, places=1) == [other]


async def test_a_backlog_does_not_keep_it_out(database: SqlDatabase) -> None:
    """Its turn comes by its rank, as for all others, however many plain jobs wait behind it."""
    node = await join_node(database)
    apart = await add(database, marks=LOST_TWICE)
    for _ in range(9):
        await add(database)
    late = await add(database, marks=LOST_TWICE, priority=3)
    first = await take(database, node, Want(KEY, 3), places=2)
    second = await take(database, node, Want(KEY, 3), places=2)
    assert len(first) == len(second) == 3
    assert apart in [*first, *second]
    assert late not in [*first, *second]
    rest = [await take(database, node, Want(KEY, 3), places=1) for _ in range(3)]
    assert late in rest[1] + rest[2]
    assert sum(map(len, rest)) == 5


async def test_of_a_group_only_the_first(database: SqlDatabase) -> None:
    node = await join_node(database)
    one = await add(database, marks=LOST_TWICE, group="a")
    two = await add(database, marks=LOST_TWICE, group="a", priority=-5)
    three = await add(database, group="b")
    four = await add(database, marks=CRASHED, group="b", priority=-5)
    plain = await add(database, group="a", priority=-9)
    assert await take(database, node, Want(KEY, 9), places=0) == [three]
    (row,) = await database.hot.claim(node, new_claim_id(), [Want(KEY, 9)], 9)
    assert row.id == one
    assert await take(database, node, Want(KEY, 9), places=9) == []
    await settle(database, row)
    (row,) = await database.hot.claim(node, new_claim_id(), [Want(KEY, 9)], 9)
    assert row.id == two
    await settle(database, row)
    assert await take(database, node, Want(KEY, 9), places=9) == [plain]
    assert (await read_job(database, four)).state == "pending", "the first of its group runs"


async def test_what_is_not_due_or_paused_stays(database: SqlDatabase) -> None:
    node = await join_node(database)
    job = await add(database, marks=CRASHED)
    async with database.begin() as connection:
        await connection.execute(update(jobs).values(run_at=db_after(60)))
    assert await take(database, node, Want(KEY, 9), places=9) == []
    async with database.begin() as connection:
        await connection.execute(update(jobs).values(run_at=db_after(-1)))
        await pause_key(connection, KEY, "a test")
    assert await take(database, node, Want(KEY, 9), places=9) == []
    async with database.begin() as connection:
        await resume_key(connection, KEY)
    assert await take(database, node, Want(KEY, 9), places=9) == [job]


async def test_nodes_that_claim_at_once_share_them(database: SqlDatabase) -> None:
    nodes = [await join_node(database) for _ in range(4)]
    ids = [await add(database, marks=LOST_TWICE) for _ in range(8)]
    taken: list[str] = []

    async def claims(node: str) -> None:
        for _ in range(20):
            taken.extend(await take(database, node, Want(KEY, 9), places=1))

    await asyncio.gather(*map(claims, nodes))
    assert by(taken) == by(ids)


async def test_a_limited_key_gets_what_is_left_of_the_places(database: SqlDatabase) -> None:
    node = await join_node(database)
    async with database.begin() as connection:
        await declare_limits(connection, [Limit(KEY, 4)])
    apart = [await add(database, marks=CRASHED) for _ in range(2)]

    async def limited(places: int, *, isolated: bool = False) -> Any:
        return await claim_limited(database, node, new_claim_id(), [Want(KEY, 9, isolated=isolated)], places)

    found = await limited(0)
    assert (found.jobs, found.held_back) == ([], {}), "the limit is not what holds it back"
    plain = await add(database)
    assert [job.id for job in (await limited(0)).jobs] == [plain]
    assert [job.id for job in (await limited(1)).jobs] == [apart[0]]
    assert [job.id for job in (await limited(0, isolated=True)).jobs] == [apart[1]]


async def test_a_consumer_tells_a_limited_key_what_is_left(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await declare_limits(connection, [Limit(OTHER, 4)])
    node, cell = await join_node(database, keys=(KEY, OTHER)), Cell(2)
    services = Service(KEY, on_the_loop), Service(OTHER, on_the_loop, cluster_concurrency=4)
    consumer = make_consumer(database, node, *services, poll_seconds=3600)
    consumer._attempts.rooms = {"process": cell}
    mine, *others = [await add(database, key, marks=CRASHED) for key in (KEY, OTHER, OTHER)]
    consumer.wake()  # without a hint it would ask for the two kinds of keys in turn
    async with consuming(consumer):
        await until(lambda: reached(cell, 2))
        assert by(order.id for order in cell.orders) == by([mine, others[0]])
        cell.open.set()
        await until_state(database, others[1], "succeeded")


async def test_ageing_does_not_go_by_what_waits_for_a_place(database: SqlDatabase) -> None:
    """Otherwise claims of a backlog would begin where there is nothing that this node can take."""
    await add(database, marks=LOST_TWICE, priority=9)
    await add(database, priority=1)
    await add(database, priority=4)
    await add(database, OTHER, marks=CRASHED, priority=9)
    plain, isolated = Want(KEY, 1), Want(KEY, 1, isolated=True)
    found = await database.hot.oldest_levels([plain, Want(OTHER, 1)])
    assert found == {KEY: OldestLevel(1, None), OTHER: OldestLevel(None, None)}
    assert await database.hot.oldest_levels([isolated]) == {KEY: OldestLevel(9, None)}


async def test_an_idle_node_takes_no_write_lock_for_what_it_has_no_place_for(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.dialect != "sqlite":
        pytest.skip("SQLite has one writer")
    node = await join_node(database)
    await add(database, marks=CRASHED)
    await add(database, marks=CRASHED, group="a")
    with monkeypatch.context() as patch:
        patch.setattr(database.hot, "_write", None)
        assert await take(database, node, Want(KEY, 9), places=0) == []
    assert len(await take(database, node, Want(KEY, 9), places=9)) == 2


async def reached(cell: Cell, count: int) -> bool:
    return len(cell.orders) >= count


async def test_places_are_counted_and_given_back(database: SqlDatabase) -> None:
    cell = Cell(2)
    consumer = server(database, await join_node(database), cell)
    ids = [await add(database, marks=LOST_TWICE) for _ in range(5)]
    async with consuming(consumer):
        await until(lambda: reached(cell, 2))
        assert consumer._attempts.places == 0
        plain = await add(database)
        consumer.wake(KEY)
        assert (await until_state(database, plain, "succeeded")).value == "on the loop", "it does not wait behind them"
        assert len(cell.orders) == 2
        cell.open.set()  # the end of each is what makes this consumer look for the next: it does not poll
        for job in ids:
            assert (await until_state(database, job, "succeeded")).value == "apart"
    assert consumer._attempts.places == 2


async def test_those_that_need_a_place_come_before_those_that_would_like_one(database: SqlDatabase) -> None:
    cell = Cell(2)
    consumer = server(database, await join_node(database), cell)
    would = [await add(database, marks={"losses": 1}) for _ in range(2)]
    need = [await add(database, marks=LOST_TWICE, priority=5) for _ in range(2)]
    async with consuming(consumer):
        await until(lambda: reached(cell, 2))
        assert by(order.id for order in cell.orders) == by(need)
        for job in would:
            assert (await until_state(database, job, "succeeded")).value == "on the loop"
        cell.open.set()
        for job in need:
            await until_state(database, job, "succeeded")


async def test_the_last_place_is_kept_for_those_that_need_it(database: SqlDatabase) -> None:
    cell = Cell(2)
    consumer = server(database, await join_node(database), cell)
    once = [await add(database, marks={"losses": 1}) for _ in range(3)]
    async with consuming(consumer):
        for job in once[1:]:
            assert (await until_state(database, job, "succeeded")).value == "on the loop"
        assert [order.id for order in cell.orders] == once[:1]
        crashed = await add(database, marks=CRASHED)
        consumer.wake(KEY)
        await until(lambda: reached(cell, 2))
        assert cell.orders[1].id == crashed
        cell.open.set()
        await until_state(database, crashed, "succeeded")


async def test_isolated_services_take_nobody_s_place(database: SqlDatabase) -> None:
    cell = Cell(1)
    consumer = server(database, await join_node(database), cell, isolation="process", concurrency=3)
    for _ in range(5):
        await add(database, marks=LOST_TWICE)
    async with consuming(consumer):
        await until(lambda: reached(cell, 3))
        assert consumer._attempts.places == 1
        cell.open.set()
        await until(lambda: reached(cell, 5))


async def test_another_node_takes_at_once_what_this_one_has_no_place_for(database: SqlDatabase) -> None:
    full, free = Cell(1), Cell(1)
    one = server(database, await join_node(database), full)
    async with consuming(one):
        first = await add(database, marks=LOST_TWICE)
        one.wake(KEY)
        await until(lambda: reached(full, 1))
        second = await add(database, marks=LOST_TWICE)
        plain = await add(database)
        one.wake(KEY)
        await until_state(database, plain, "succeeded")
        assert (await read_job(database, second)).state == "pending", "it is not claimed to wait there"
        two = server(database, await join_node(database), free)
        async with consuming(two):
            free.open.set()
            assert (await until_state(database, second, "succeeded")).value == "apart"
        assert (await read_job(database, first)).state == "running"
        full.open.set()
        await until_state(database, first, "succeeded")
    assert [order.id for order in free.orders] == [second]


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (
            LOST_TWICE,
            "it was lost with 2 nodes, so it runs in a child, of which a node has few at a time",
        ),
        (CRASHED, "a child has died of it, so it runs in a child, of"),
        ({"losses": 1}, None),
    ],
)
async def test_explain_tells_what_it_waits_for(database: SqlDatabase, marks: dict[str, int], told: str | None) -> None:
    await join_node(database)
    job = await add(database, marks=marks)
    async with database.connect() as connection:
        (reason,) = (await explain_job(connection, job, {})).reasons
    assert reason.code == "limit"
    assert (told or "it waits for a free slot") in reason.message
    assert (told is not None) == ("child" in reason.message)


async def test_who_has_no_children_at_all_takes_everything(database: SqlDatabase) -> None:
    node = await join_node(database)
    apart = await add(database, marks=LOST_TWICE)
    assert [row.id for row in await claim(database, node)] == [apart]
