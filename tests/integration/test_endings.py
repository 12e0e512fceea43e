"""The way of a job from the hot table to the history, on both databases."""

from integration.queue_bench import KEY, make_queue, read_job
from sqlalchemy import exists, or_

from nocohost.api.job import JobState
from nocohost.store.database import SqlDatabase
from nocohost.store.endings import Ending, end_jobs
from nocohost.store.schema import history, jobs


async def test_only_what_has_reached_the_history_leaves_the_hot_table(database: SqlDatabase) -> None:
    """The lease of a node may end between two statements, and with it what a condition on it finds."""
    queue = make_queue(database)
    first, second = await queue.enqueue(KEY, {}), await queue.enqueue(KEY, {})
    moving = or_(jobs.c.id == first.id, exists().where(history.c.id == first.id).correlate_except(history))
    async with database.begin() as connection:
        ended = await end_jobs(connection, moving, Ending(JobState.CANCELLED))
    assert [one.id for one in ended] == [first.id]
    assert (await read_job(database, first.id)).state == "cancelled"
    assert (await read_job(database, second.id)).state == "pending"
