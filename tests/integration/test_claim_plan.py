"""What the queue costs the database: the plan of a claim, and the statements of an idle node."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from integration.queue_bench import KEY, LOG, join_node, make_consumer, make_queue, make_sweep
from sqlalchemy import event, text

from nocohost.api.job import Job
from nocohost.api.service import Service
from nocohost.node.identity import new_claim_id, new_id
from nocohost.queue.alarm import Alarm
from nocohost.queue.lookout import Lookout
from nocohost.store.claims import held_jobs
from nocohost.store.database import SqlDatabase
from nocohost.store.hot.postgresql import wanted
from nocohost.store.hot.sqlite import ANY_DUE
from nocohost.store.hot.statements import CLAIM, CLAIM_PLAIN
from nocohost.store.hot.values import ClaimedJob, Want
from nocohost.testing.clock import FakeClock

BACKLOG = """
INSERT INTO nocohost_jobs (id, key, state, payload, run_at, enqueued_at)
SELECT gen_random_uuid(), 'other:key', 'pending', '{}', now() - interval '1 hour', now()
FROM generate_series(1, 20000)
"""


@pytest.fixture
def explained(database: SqlDatabase) -> SqlDatabase:
    if database.dialect != "postgresql":
        pytest.skip("PostgreSQL's planner")
    return database


@pytest.mark.parametrize("statement", [CLAIM, CLAIM_PLAIN], ids=["with groups", "plain"])
async def test_a_claim_uses_the_partial_index_past_a_backlog(explained: SqlDatabase, statement: str) -> None:
    await make_queue(explained).enqueue(KEY, {})
    node = await join_node(explained)
    async with explained.begin() as connection:
        await connection.execute(text(BACKLOG))
        await connection.execute(text("ANALYZE nocohost_jobs"))
    parameters = wanted(node, new_claim_id(), [Want(KEY, 5), Want("none:such", 5)])
    async with explained.begin() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT TEXT) {statement}", parameters)
        plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using nocohost_jobs_due" in plan or "Index Only Scan using nocohost_jobs_due" in plan, plan
    assert "using nocohost_jobs_apart" in plan, "what must run apart is looked for in an index that is most often empty"
    assert "Seq Scan on nocohost_jobs" not in plan, plan


async def test_what_a_node_holds_is_found_by_the_partial_index(explained: SqlDatabase) -> None:
    async with explained.begin() as connection:
        await connection.execute(text(BACKLOG))
        await connection.execute(text("ANALYZE nocohost_jobs"))
        assert await held_jobs(connection, new_id()) == []
        seen = []
        event.listen(connection.sync_connection, "before_cursor_execute", lambda *call: seen.append(call[2:4]))
        await held_jobs(connection, new_id())
        ((sql, parameters),) = seen
        rows = await connection.exec_driver_sql(f"EXPLAIN {sql}", parameters)
        plan = "\n".join(row[0] for row in rows)
    assert "nocohost_jobs_held" in plan


async def test_the_cheap_question_on_sqlite_uses_the_partial_index(database: SqlDatabase) -> None:
    if database.dialect != "sqlite":
        pytest.skip("SQLite's planner")
    async with database.connect() as connection:
        rows = await connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {ANY_DUE}", {**Want(KEY, 1)._asdict(), "places": 1}
        )
        plan = "\n".join(row[3] for row in rows)
    assert "nocohost_jobs_due" in plan
    assert "SCAN" not in plan.replace("SCAN CONSTANT ROW", ""), plan


async def test_a_claim_takes_each_key_as_far_as_it_has_slots(database: SqlDatabase) -> None:
    queue = make_queue(database, external=("other:key",))
    for key in (KEY, "other:key"):
        for _ in range(4):
            await queue.enqueue(key, {})
    node = await join_node(database)
    wants = [Want(KEY, 3), Want("other:key", 1), Want("none:such", 2), Want("full:key", 0)]
    rows = await database.hot.claim(node, new_claim_id(), wants)
    assert sorted(row.key for row in rows) == ["other:key", KEY, KEY, KEY]


async def test_an_idle_node_sends_less_than_two_statements_a_second(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consumer, sweep and alarm, for 20 seconds of their clock; the heartbeat adds one every three seconds."""

    async def handler(job: Job) -> None:
        return None

    clock = FakeClock()
    node = await join_node(database)
    consumer = make_consumer(database, node, Service(KEY, handler), clock=clock, poll_seconds=1.0)
    sweep = make_sweep(database, node, clock=clock)
    sweep._sweep_seconds = 2.0
    statements = []
    engines = {database._engine.sync_engine, getattr(database, "_reading", database._engine).sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    claim = database.hot.claim

    async def counted(node_id: str, claim_id: str, wants: Sequence[Want], places: int) -> list[ClaimedJob]:
        statements.append("claim")
        return await claim(node_id, claim_id, wants, places)

    monkeypatch.setattr(database.hot, "claim", counted)
    alarm = Alarm(Lookout(database, clock=clock, look_seconds=10.0), node, clock=clock, log=LOG, look_seconds=10.0)
    loops = [asyncio.create_task(loop) for loop in (consumer.run(), sweep.run(), alarm.run())]
    for _ in range(80):
        clock.advance(0.25)
        await asyncio.sleep(0.01)
    for loop in loops:
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop
    per_second = len([one for one in statements if one != "BEGIN"]) / 20
    assert 1.2 <= per_second <= 2 - 1 / 3, statements
    assert 2 <= sum("RECURSIVE plain" in one for one in statements) <= 3, "the alarm looks every ten seconds"
