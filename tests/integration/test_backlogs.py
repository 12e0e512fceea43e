"""A backlog slows nobody else down: other keys, urgent jobs, small tenants, and the lowest priority itself.

Nothing is timed. What a statement costs is counted: in steps of SQLite's machine, in blocks that PostgreSQL touches.
"""

from asyncio import gather, to_thread
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from random import Random
from typing import Any

import pytest
from integration.queue_bench import KEY, claim, join_node, make_consumer, make_queue
from sqlalchemy import event, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.job import Job
from nocohost.api.service import Service
from nocohost.node.identity import new_claim_id
from nocohost.store import limits
from nocohost.store.database import SqlDatabase
from nocohost.store.hot import postgresql, sqlite, statements
from nocohost.store.hot.values import LOWEST_FLOOR, ClaimedJob, OldestLevel, Settlement, Want
from nocohost.store.keys import pause_key
from nocohost.store.limits import Limit, claim_limited, declare_limits
from nocohost.store.schema import jobs
from nocohost.store.types import db_after

PARKED = 100_000
PARKED_KEY = "parked:key"
GROUPS = 20
POSTGRESQL = """
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group")
SELECT gen_random_uuid(), :key, 'pending', '{}', :priority, clock_timestamp() - interval '1 hour',
       clock_timestamp(), CAST(:name AS text) || (n % :groups)
FROM generate_series(1, :count) AS n
"""
SQLITE = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group")
SELECT lower(hex(randomblob(16))), :key, 'pending', '{}', :priority, nocohost_now() - 3600000000, nocohost_now() + n,
       :name || (n % :groups)
FROM numbers
"""
Run = Callable[[AsyncConnection], Awaitable[object]]


async def park(
    database: SqlDatabase, count: int, key: str = PARKED_KEY, *, priority: int = 0, name: str | None = None
) -> None:
    """Fill a key with due jobs, in ``GROUPS`` groups when they have a name; however long it takes."""
    sql = text(POSTGRESQL if database.dialect == "postgresql" else SQLITE)
    given = {"key": key, "count": count, "priority": priority, "name": name, "groups": GROUPS}

    def fill() -> None:
        engine = database.open_sync(limited=False)
        with engine.begin() as connection:
            connection.execute(sql, given)
            connection.execute(text("ANALYZE"))
        engine.dispose()

    await to_thread(fill)


async def cost(database: SqlDatabase, run: Run) -> int:
    """Return what the statements of ``run`` cost, and leave nothing of it behind."""
    count = _steps if database.dialect == "sqlite" else _blocks
    async with database.begin() as connection:
        nested = await connection.begin_nested()
        found = await count(connection, run)
        await nested.rollback()
    return found


async def _steps(connection: AsyncConnection, run: Run) -> int:
    counted: list[None] = []
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.set_progress_handler(lambda: counted.append(None), 10)
    try:
        await run(connection)
    finally:
        await driver.set_progress_handler(None, 0)
    return 10 * len(counted)


async def _blocks(connection: AsyncConnection, run: Run) -> int:
    sent: list[tuple[str, Any]] = []

    def note(*call: Any) -> None:
        sent.append((call[2], call[3]))

    event.listen(connection.sync_connection, "before_cursor_execute", note)
    nested = await connection.begin_nested()
    await run(connection)
    await nested.rollback()
    event.remove(connection.sync_connection, "before_cursor_execute", note)
    blocks = 0
    for sql, parameters in sent:
        if "nocohost_jobs" not in sql:
            continue
        told = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        plan = told.scalar_one()[0]["Plan"]
        blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return blocks


def claiming(node: str, *wants: Want) -> Run:
    """Return a claim as both stores send it."""

    async def run(connection: AsyncConnection) -> None:
        if connection.dialect.name == "postgresql":
            parameters = postgresql.wanted(node, new_claim_id(), wants)
            await connection.exec_driver_sql(statements.CLAIM_PLAIN, parameters)
            await connection.exec_driver_sql(statements.CLAIM, parameters)
            return
        now = (await connection.exec_driver_sql("SELECT nocohost_now()")).scalar_one()
        for want in wants:
            await connection.exec_driver_sql(sqlite.ANY_DUE, {**want._asdict(), "places": 1})
            (await connection.exec_driver_sql(sqlite.APART, {**want._asdict(), "places": 1, "now": now})).all()
            given = sqlite.wanted(sqlite.hexed(node), new_claim_id(), want, now)
            (await connection.exec_driver_sql(sqlite.CLAIM, given)).all()

    return run


async def looking_at_limits(connection: AsyncConnection) -> None:
    await connection.execute(limits._look([Want(PARKED_KEY, 10)], 1))


def lasting(price: int, *others: int) -> None:
    """Assert that a backlog makes what costs ``price`` without it no more than twice as dear."""
    assert price > 0
    assert max(others) <= 2 * price, (price, others)


async def test_a_hundred_thousand_parked_jobs_make_no_claim_dearer(database: SqlDatabase) -> None:
    """They wait in another key, then in one that is paused, then behind a limit that is reached."""
    node = await join_node(database, keys=(KEY, PARKED_KEY))
    queue, mine, both = make_queue(database), claiming(node, Want(KEY, 1)), [Want(KEY, 1), Want(PARKED_KEY, 10)]
    await queue.enqueue_many(KEY, [{}] * 20)
    await park(database, 20)
    async with database.begin() as connection:
        await declare_limits(connection, [Limit(PARKED_KEY, 1)])
    (held,) = (await claim_limited(database, node, new_claim_id(), [Want(PARKED_KEY, 10)])).jobs
    alone, with_parked, limited = [
        await cost(database, run) for run in (mine, claiming(node, *both), looking_at_limits)
    ]
    await park(database, PARKED)
    urgent = await queue.enqueue(KEY, {}, priority=-1)
    lasting(alone, await cost(database, mine))
    lasting(with_parked, await cost(database, claiming(node, *both)))
    lasting(limited, await cost(database, looking_at_limits))
    assert (await claim_limited(database, node, new_claim_id(), [Want(PARKED_KEY, 10)])).jobs == []
    async with database.begin() as connection:
        await pause_key(connection, PARKED_KEY, "a test")
    lasting(with_parked, await cost(database, claiming(node, *both)))
    taken = await database.hot.claim(node, new_claim_id(), both)
    assert [job.id for job in taken] == [urgent.id]
    assert held.id != urgent.id


async def test_a_hundred_thousand_jobs_in_busy_groups_make_no_claim_dearer(database: SqlDatabase) -> None:
    node = await join_node(database, keys=(KEY, PARKED_KEY))
    await make_queue(database).enqueue_many(KEY, [{}] * 20)
    await park(database, 5 * GROUPS, name="tenant-")
    assert len(await claim(database, node, PARKED_KEY, 50)) == GROUPS
    run = claiming(node, Want(KEY, 1), Want(PARKED_KEY, 10))
    price = await cost(database, run)
    await park(database, PARKED, name="tenant-")
    lasting(price, await cost(database, run))
    assert await claim(database, node, PARKED_KEY, 50) == [], "each group has one that runs"


async def test_an_urgent_job_goes_before_fifty_thousand_of_its_own_key(database: SqlDatabase) -> None:
    node = await join_node(database)
    await park(database, 50, KEY, priority=5)
    price = await cost(database, claiming(node, Want(KEY, 1)))
    await park(database, 50_000, KEY, priority=5)
    urgent = await make_queue(database).enqueue(KEY, {}, priority=-1)
    lasting(price, await cost(database, claiming(node, Want(KEY, 1))))
    assert [job.id for job in await claim(database, node)] == [urgent.id]


@pytest.mark.parametrize(("seed", "ages"), [(11, True), (None, False)], ids=["ageing", "strict"])
async def test_the_lowest_priority_gets_its_share_by_ageing_alone(
    database: SqlDatabase, seed: int | None, ages: bool
) -> None:
    """Urgent work never ends here; the lowest priority has waited longest and gets at least a twentieth."""

    async def handler(job: Job) -> None:
        return None

    node, seen = await join_node(database), Counter[int]()
    await park(database, 100, KEY, priority=9)
    await make_queue(database).enqueue_many(KEY, [{}] * 500)
    draw = (lambda: 1.0) if seed is None else Random(seed).random
    consumer = make_consumer(database, node, Service(KEY, handler, concurrency=5), draw=draw)
    consumer._backlog = frozenset({KEY})
    for _ in range(100):
        rows = await database.hot.claim(node, new_claim_id(), await consumer._wants({KEY: 5}))
        seen.update(row.priority for row in rows)
        await end(database, rows)
    assert seen.total() == 500
    if ages:
        assert 0.05 <= seen[9] / 500 <= 0.2, seen
    else:
        assert seen[9] == 0, "without ageing it would starve"


async def test_a_hundred_priorities_are_looked_at_and_then_the_next(database: SqlDatabase) -> None:
    """In a fair queue every job has a priority of its own, and those beyond the first hundred age as well."""

    async def handler(job: Job) -> None:
        return None

    queue, node = make_queue(database), await join_node(database)
    await gather(*(queue.enqueue(KEY, {}, priority=priority) for priority in range(250)))
    async with database.begin() as connection:
        for priority, age in ((50, 60), (150, 120), (230, 60)):
            aged = update(jobs).where(jobs.c.priority == priority).values(run_at=db_after(-age))
            await connection.execute(aged)
    found, floor = [], LOWEST_FLOOR
    for _ in range(3):
        level = (await database.hot.oldest_levels([Want(KEY, 1, floor)]))[KEY]
        found.append(level)
        floor = LOWEST_FLOOR if level.last is None else level.last
    assert found == [OldestLevel(50, 99), OldestLevel(150, 198), OldestLevel(230, None)]
    consumer = make_consumer(database, node, Service(KEY, handler), draw=lambda: 0.0)
    consumer._backlog = frozenset({KEY})
    wants = [await consumer._wants({KEY: 1}) for _ in range(4)]
    assert [want.floor for (want,) in wants] == [50, 150, 230, 50]


async def test_jobs_of_groups_get_their_share_by_ageing_too(database: SqlDatabase) -> None:
    async def handler(job: Job) -> None:
        return None

    queue, node, seen = make_queue(database), await join_node(database), Counter[int]()
    for tenant in range(20):
        await queue.enqueue_many(KEY, [{}] * 5, group=f"tenant-{tenant}", priority=9)
    await queue.enqueue_many(KEY, [{}] * 500)
    draw = Random(11).random
    consumer = make_consumer(database, node, Service(KEY, handler, concurrency=5), draw=draw)
    consumer._backlog = frozenset({KEY})
    for _ in range(100):
        rows = await database.hot.claim(node, new_claim_id(), await consumer._wants({KEY: 5}))
        seen.update(row.priority for row in rows)
        await end(database, rows)
    assert 0.05 <= seen[9] / 500 <= 0.2, seen


@pytest.mark.parametrize("slots", [25, 7])
async def test_small_tenants_are_not_kept_waiting_by_a_large_one(database: SqlDatabase, slots: int) -> None:
    """The large one came first, with a hundred times as much; it takes one slot of each turn, and no more."""
    queue, node = make_queue(database), await join_node(database)
    await queue.enqueue_many(KEY, [{}] * 1000, group="large")
    tenants = [f"small-{place}" for place in range(20)]
    for tenant in tenants:
        await queue.enqueue_many(KEY, [{}] * 10, group=tenant)
    done, last = Counter[str](), Counter[str]()
    turns = 10 * ceil(20 / min(slots - 1, 20))
    for turn in range(1, turns + 1):
        rows = await claim(database, node, KEY, slots)
        for row in rows:
            assert row.group is not None
            done[row.group] += 1
            last[row.group] = turn
        await end(database, rows)
    assert {done[tenant] for tenant in tenants} == {10}, done
    assert done["large"] == turns
    if slots > len(tenants):
        assert turns == 10, "as long as each would take alone"


async def end(database: SqlDatabase, rows: Sequence[ClaimedJob]) -> None:
    """Let all of these jobs succeed."""
    assert len(await database.hot.settle([Settlement(row.id, row.claim_id, "succeeded") for row in rows])) == len(rows)
