"""A job that somebody has cancelled ends as cancelled, however its node hands it back: it never runs again."""

from integration.queue_bench import KEY, claim, join_node, make_queue, make_sweep, read_job

from nocohost.store.claims import hand_back, held_jobs, release_unknown
from nocohost.store.database import SqlDatabase
from nocohost.store.heartbeat import HeartbeatConnection
from nocohost.store.jobs import cancel_job
from nocohost.store.nodes import leave_cluster


async def claimed_and_cancelled(database: SqlDatabase, node: str) -> tuple[str, str]:
    """Return the ids of two jobs that the node holds: one that was cancelled, and one that was not."""
    queue = make_queue(database)
    cancelled, other = [await queue.enqueue(KEY, {}) for _ in range(2)]
    assert len(await claim(database, node, count=2)) == 2
    async with database.begin() as connection:
        assert (await cancel_job(connection, cancelled.id)).cancel_requested
    return cancelled.id, other.id


async def states(database: SqlDatabase, *ids: str) -> list[str]:
    return [(await read_job(database, one)).state for one in ids]


async def test_by_a_claim_whose_answer_was_lost(database: SqlDatabase) -> None:
    node = await join_node(database)
    ids = await claimed_and_cancelled(database, node)
    async with database.begin() as connection:
        held = await held_jobs(connection, node)
        assert await release_unknown(connection, node, held) == 2
    assert await states(database, *ids) == ["cancelled", "pending"]


async def test_one_that_is_cancelled_while_it_is_handed_back_stays_for_the_next_look(database: SqlDatabase) -> None:
    node = await join_node(database)
    async with database.connect() as connection:
        assert not await held_jobs(connection, node)
    job = await make_queue(database).enqueue(KEY, {})
    assert await claim(database, node)
    async with database.connect() as connection:
        before = await held_jobs(connection, node)
    async with database.begin() as connection:
        await cancel_job(connection, job.id)
    async with database.begin() as connection:
        await release_unknown(connection, node, before)
    assert await states(database, job.id) != ["pending"]
    async with database.begin() as connection:
        await release_unknown(connection, node, await held_jobs(connection, node))
    assert await states(database, job.id) == ["cancelled"]


async def test_by_a_drain(database: SqlDatabase) -> None:
    node = await join_node(database)
    ids = await claimed_and_cancelled(database, node)
    async with database.begin() as connection:
        assert await hand_back(connection, node) == 1
    assert await states(database, *ids) == ["cancelled", "pending"]


async def test_by_the_watch_whose_event_loop_is_stuck(database: SqlDatabase) -> None:
    """It has one statement; what was to be cancelled is left to the sweep of a node that lives."""
    node, other = await join_node(database), await join_node(database)
    ids = await claimed_and_cancelled(database, node)
    connection = HeartbeatConnection(database.open_sync)
    assert connection.release_jobs(node) == 1
    connection.close()
    assert await states(database, *ids) == ["running", "pending"]
    async with database.begin() as leaving:
        await leave_cluster(leaving, node)
    await make_sweep(database, other).turn()
    assert await states(database, *ids) == ["cancelled", "pending"]
