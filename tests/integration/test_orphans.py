"""What lost nodes leave behind, and who frees it. Several tests are named after the defects of others they prevent."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from integration.queue_bench import KEY, LOG, claim, join_node, make_queue, make_sweep, node_record, read_job, settle
from sqlalchemy import delete, func, select, update

from nocohost.api.job import JobState
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.node.setting_models import Timing
from nocohost.queue.beat import Beat
from nocohost.queue.sweep import Upkeep
from nocohost.store.claims import was_written
from nocohost.store.database import SqlDatabase
from nocohost.store.endings import Ending, end_jobs
from nocohost.store.hot.values import ClaimedJob
from nocohost.store.jobs import cancel_job
from nocohost.store.node_orders import quiet_node, resume_node, stop_node
from nocohost.store.nodes import NodeRow, leave_cluster, live_nodes, register_node, set_node_state
from nocohost.store.orphans import free_orphans
from nocohost.store.schema import history, idempotency, jobs, nodes
from nocohost.store.types import db_after

SUCCEEDED = Ending(JobState.SUCCEEDED)


async def lose(database: SqlDatabase, node: str) -> None:
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == node).values(lease_until=db_after(-1)))


async def test_any_node_recovers_any(database: SqlDatabase) -> None:
    job = await make_queue(database).enqueue(KEY, {})
    dead, other = await join_node(database), await join_node(database)
    await claim(database, dead)
    await lose(database, dead)
    assert (await read_job(database, job.id)).orphan
    await make_sweep(database, other).turn()
    row = await read_job(database, job.id)
    assert (row.state, row.attempts, row.losses, row.orphan) == ("pending", 0, 1, False)
    async with database.connect() as connection:
        assert await connection.scalar(select(nodes.c.state).where(nodes.c.id == dead)) == "lost"
        assert [node.id for node in await live_nodes(connection)] == [other]


async def test_owner_row_deleted_still_rescued(database: SqlDatabase) -> None:
    job = await make_queue(database).enqueue(KEY, {})
    dead, other = await join_node(database), await join_node(database)
    await claim(database, dead)
    async with database.begin() as connection:
        await connection.execute(delete(nodes).where(nodes.c.id == dead))
    await make_sweep(database, other).turn()
    assert (await read_job(database, job.id)).losses == 1


async def test_long_job_with_beat_never_rescued(database: SqlDatabase) -> None:
    job = await make_queue(database).enqueue(KEY, {})
    busy, other = await join_node(database), await join_node(database)
    await claim(database, busy)
    async with database.begin() as connection:
        await connection.execute(update(jobs).values(started_at=db_after(-86400), run_at=db_after(-90000)))
    await make_sweep(database, other).turn()
    assert (await read_job(database, job.id)).state == "running"


async def test_a_sweep_touches_served_keys_only_and_never_its_own_jobs(database: SqlDatabase) -> None:
    queue = make_queue(database, external=("other:key",))
    made = [await queue.enqueue(KEY, {}), await queue.enqueue("other:key", {})]
    dead, other = await join_node(database), await join_node(database)
    await claim(database, dead)
    await claim(database, dead, "other:key")
    await lose(database, dead)
    await make_sweep(database, dead, KEY, "other:key").turn()
    assert [(await read_job(database, job.id)).state for job in made] == ["running", "running"]
    await make_sweep(database, other).turn()
    assert [(await read_job(database, job.id)).state for job in made] == ["pending", "running"]


async def test_a_sweeping_node_never_takes_itself_for_lost(database: SqlDatabase) -> None:
    """It has just been frozen: whether it goes on is for its watch to say, and for the others."""
    thawed, other = await join_node(database), await join_node(database)
    await lose(database, thawed)

    async def state() -> str | None:
        async with database.connect() as connection:
            return await connection.scalar(select(nodes.c.state).where(nodes.c.id == thawed))

    await make_sweep(database, thawed).turn()
    assert await state() == "serving"
    await make_sweep(database, other).turn()
    assert await state() == "lost"


async def test_rescue_never_overwrites_terminal(database: SqlDatabase) -> None:
    """Acks and sweeps race over the same jobs; each job ends up in one place, by one of them."""
    queue = make_queue(database)
    for _ in range(5):
        made = [await queue.enqueue(KEY, {}) for _ in range(6)]
        frozen, other = await join_node(database), await join_node(database)
        rows = await claim(database, frozen, count=6)
        assert len(rows) == 6
        await lose(database, frozen)

        async def ack(row: ClaimedJob) -> bool:
            return await settle(database, row)

        *acked, _ = await asyncio.gather(*(ack(row) for row in rows), make_sweep(database, other).turn())
        for row, won in zip(rows, acked, strict=True):
            state = (await read_job(database, row.id)).state
            assert state == ("succeeded" if won else "pending")
        async with database.begin() as connection:
            await connection.execute(delete(jobs).where(jobs.c.id.in_([job.id for job in made])))


async def test_a_frozen_and_revived_node_is_refused_everything(database: SqlDatabase) -> None:
    await make_queue(database).enqueue(KEY, {})
    frozen, other = await join_node(database), await join_node(database)
    (old,) = await claim(database, frozen)
    await lose(database, frozen)
    await make_sweep(database, other).turn()
    (new,) = await claim(database, other)
    assert (old.fence, new.fence) == (1, 2)
    assert not await settle(database, old)
    assert not await settle(database, old, "pending", charge=True)
    async with database.connect() as connection:
        assert not await was_written(connection, old, frozen)
    assert await settle(database, new)
    async with database.connect() as connection:
        assert await was_written(connection, new, other)
        assert not await was_written(connection, old, frozen)


async def test_a_write_whose_answer_was_lost_is_recognised(database: SqlDatabase) -> None:
    await make_queue(database).enqueue(KEY, {})
    node = await join_node(database)
    (row,) = await claim(database, node)
    async with database.connect() as connection:
        assert not await was_written(connection, row, node)
    assert await settle(database, row, "pending", charge=True, delay_seconds=60.0)
    assert not await settle(database, row, "pending", charge=True, delay_seconds=60.0)
    async with database.connect() as connection:
        assert await was_written(connection, row, node)


async def test_a_job_to_be_cancelled_is_not_run_again(database: SqlDatabase) -> None:
    queue = make_queue(database)
    made = [await queue.enqueue(KEY, {}) for _ in range(3)]
    dead, other = await join_node(database), await join_node(database)
    rows = {row.id: row for row in await claim(database, dead, count=3)}
    async with database.begin() as connection:
        for job in made[:2]:
            assert (await cancel_job(connection, job.id)).state == "running"
    assert await settle(database, rows[made[0].id], "pending", charge=True)
    await lose(database, dead)
    await make_sweep(database, other).turn()
    assert await claim(database, other)
    async with database.begin() as connection:
        assert (await cancel_job(connection, made[2].id)).state == "running"
    await lose(database, other)
    async with database.begin() as connection:
        assert (await cancel_job(connection, made[2].id)).state == "cancelled"
    assert [(await read_job(database, job.id)).state for job in made] == ["cancelled"] * 3


async def test_rescue_pages_past_unrescuable(database: SqlDatabase) -> None:
    queue = make_queue(database, external=("other:key",))
    for _ in range(4):
        await queue.enqueue("other:key", {})
    mine = [await queue.enqueue(KEY, {}) for _ in range(5)]
    dead, other = await join_node(database), await join_node(database)
    await claim(database, dead, "other:key", 4)
    await claim(database, dead, KEY, 5)
    await lose(database, dead)
    freed = []
    async with database.begin() as connection:
        while page := (await free_orphans(connection, other, [KEY], 2)).orphans:
            assert len(page) <= 2
            freed += [orphan.id for orphan in page]
    assert sorted(freed) == sorted(job.id for job in mine)


async def test_a_beat_learns_what_people_ask_of_the_node(database: SqlDatabase) -> None:
    node, asked = await join_node(database), []
    beat = Beat(
        database.open_sync,
        node_record(node),
        Timing(3, 15, 2),
        renewed=lambda sent_at: None,
        log=LOG,
        on_stop=lambda: asked.append("stop"),
    )
    beat.state = "serving"

    async def order(operate: Callable[..., Awaitable[NodeRow]]) -> tuple[bool, list[str]]:
        async with database.begin() as connection:
            await operate(connection, node)
        beat.beat_once()
        return beat.is_quiet, asked

    assert await order(quiet_node) == (True, [])
    assert await order(resume_node) == (False, [])
    assert await order(quiet_node) == (True, [])
    assert await order(stop_node) == (True, ["stop"])
    beat.beat_once()
    assert asked == ["stop"], "once is enough"
    beat.state = "draining"
    beat.beat_once()
    async with database.connect() as connection:
        assert [row.state for row in await live_nodes(connection)] == ["draining"]
    beat._connection.close()


async def test_a_beat_renews_the_lease_and_brings_a_lost_or_deleted_row_back(database: SqlDatabase) -> None:
    node, sent = await join_node(database), []
    timing = Timing(0.05, 30.0, 0.5)
    beat = Beat(database.open_sync, node_record(node), timing, renewed=sent.append, log=LOG)
    beat.state = "serving"
    await lose(database, node)
    await make_sweep(database, await join_node(database)).turn()
    before = time.monotonic()
    beat.start()
    try:
        while len(sent) < 2:
            await asyncio.sleep(0.01)
        async with database.begin() as connection:
            assert "serving" in [row.state for row in await live_nodes(connection) if KEY in row.services]
            await connection.execute(delete(nodes).where(nodes.c.id == node))
        count = len(sent)
        while len(sent) < count + 2:
            await asyncio.sleep(0.01)
        for state, told in (
            ("starting", "serving"),
            ("lost", "serving"),
            ("quiet", "quiet"),
            ("lost", "quiet"),
            ("serving", "serving"),
        ):
            async with database.begin() as connection:
                await set_node_state(connection, node, state)
            count = len(sent)
            while len(sent) < count + 2:
                await asyncio.sleep(0.01)
            async with database.connect() as connection:
                assert await connection.scalar(select(nodes.c.state).where(nodes.c.id == node)) == told
        beat.state = "starting"
        await asyncio.sleep(0.15)
        async with database.connect() as connection:
            assert await connection.scalar(select(nodes.c.state).where(nodes.c.id == node)) == "serving"
    finally:
        beat.stop()
    assert before <= sent[0] < sent[1] <= time.monotonic()
    async with database.begin() as connection:
        assert node in [one.id for one in await live_nodes(connection)]
        await leave_cluster(connection, node)
        assert node not in [one.id for one in await live_nodes(connection)]


async def test_upkeep_removes_what_is_past_its_time(database: SqlDatabase) -> None:
    queue = make_queue(database)
    made = [await queue.enqueue(KEY, {}, idempotency_key=name) for name in "abc"]
    node = await join_node(database)
    gone = new_id()
    async with database.begin() as connection:
        await end_jobs(connection, jobs.c.id == made[0].id, SUCCEEDED)
        await end_jobs(connection, jobs.c.id == made[1].id, Ending(JobState.DEAD, last_error="x"))
        await connection.execute(update(history).values(finished_at=db_after(-100)))
        await end_jobs(connection, jobs.c.id == made[2].id, SUCCEEDED)
        await connection.execute(
            update(idempotency).where(idempotency.c.idempotency_key != "c").values(expires_at=db_after(-1))
        )
        await register_node(connection, node_record(gone), lease_seconds=-30 * 86400, state="stopped")
    await Upkeep(database, clock=SystemClock(), log=LOG, history_seconds=50).turn()
    async with database.connect() as connection:
        assert set(await connection.scalars(select(history.c.id))) == {made[1].id, made[2].id}
        assert list(await connection.scalars(select(idempotency.c.idempotency_key))) == ["c"]
        assert list(await connection.scalars(select(nodes.c.id))) == [node]
        assert await connection.scalar(select(func.count()).select_from(jobs)) == 0
