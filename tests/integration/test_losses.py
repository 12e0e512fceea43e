"""What becomes of jobs that were lost with their node: again, held for a person, or failed."""

from collections.abc import Mapping

import pytest
from integration.queue_bench import KEY, claim, join_node, make_queue, make_sweep, read_job
from sqlalchemy import update

from nocohost.api.job import Job
from nocohost.api.service import Backoff, JobType, OnCrash, Service
from nocohost.queue.loss import LOSSES, LossRules
from nocohost.queue.sweep import Sweep
from nocohost.store.database import SqlDatabase
from nocohost.store.jobs import JobRow, retry_job
from nocohost.store.schema import jobs, nodes
from nocohost.store.types import db_after

OTHER = "other:key"


async def handler(job: Job) -> None:
    return None


def sweep_by(database: SqlDatabase, node: str, policies: Mapping[str, OnCrash], attempts: int = 2) -> Sweep:
    backoff = Backoff(60.0, jitter=0.0)
    services = {key: Service(key, handler, on_crash=policy, backoff=backoff) for key, policy in policies.items()}
    sweep = make_sweep(database, node, *policies)
    sweep.judge = LossRules(services, {key: JobType(key, attempts=attempts) for key in policies}.get).judge
    return sweep


async def lose_one(database: SqlDatabase, job_id: str, key: str = KEY) -> str:
    """Let a node claim the job, due or not, and die; return the node's id."""
    async with database.begin() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job_id).values(run_at=db_after(-1)))
    dead = await join_node(database)
    assert [row.id for row in await claim(database, dead, key)] == [job_id]
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == dead).values(lease_until=db_after(-1)))
    return dead


async def test_hold_keeps_the_job_as_a_dead_letter_that_says_why(database: SqlDatabase) -> None:
    job = await make_queue(database).enqueue(KEY, {}, idempotency_key="one")
    other = await join_node(database)
    dead = await lose_one(database, job.id)
    await sweep_by(database, other, {KEY: "hold"}).turn()
    row = await read_job(database, job.id)
    assert (row.state, row.attempts, row.losses) == ("dead", 0, 1)
    assert row.last_error == f"held for a person: node {dead} was lost while it ran the job"


async def test_fail_charges_the_attempt_waits_and_ends_when_attempts_are_used_up(database: SqlDatabase) -> None:
    job = await make_queue(database).enqueue(KEY, {})
    other = await join_node(database)
    sweep = sweep_by(database, other, {KEY: "fail"})
    await lose_one(database, job.id)
    await sweep.turn()
    row = await read_job(database, job.id)
    assert (row.state, row.attempts, row.losses) == ("pending", 1, 1)
    assert "was lost while it ran the job" in (row.last_error or "")
    assert await claim(database, other) == [], "it waits for its backoff"
    await lose_one(database, job.id)
    await sweep.turn()
    row = await read_job(database, job.id)
    assert (row.state, row.attempts, row.losses) == ("dead", 2, 2)


async def test_retry_runs_again_at_once_until_too_many_nodes_were_lost(database: SqlDatabase) -> None:
    job = await make_queue(database).enqueue(KEY, {})
    other = await join_node(database)
    sweep = sweep_by(database, other, {KEY: "retry"})
    for losses in range(1, LOSSES):
        await lose_one(database, job.id)
        await sweep.turn()
        row = await read_job(database, job.id)
        assert (row.state, row.attempts, row.losses) == ("pending", 0, losses)
    dead = await lose_one(database, job.id)
    await sweep.turn()
    row = await read_job(database, job.id)
    assert (row.state, row.attempts, row.losses) == ("dead", 0, LOSSES)
    assert row.last_error == f"lost with 20 nodes that ran it; the last: node {dead} was lost while it ran the job"
    async with database.begin() as connection:
        again: JobRow = await retry_job(connection, job.id)
    assert (again.state, again.losses) == ("pending", 0)


async def test_each_key_by_its_own_policy_page_by_page(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocohost.queue.sweep.BATCH", 2)
    queue = make_queue(database, external=(OTHER,))
    held = [await queue.enqueue(KEY, {}) for _ in range(5)]
    again = [await queue.enqueue(OTHER, {}) for _ in range(5)]
    dead, other = await join_node(database), await join_node(database)
    assert len(await claim(database, dead, KEY, 5)) == len(await claim(database, dead, OTHER, 5)) == 5
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == dead).values(lease_until=db_after(-1)))
    freed: list[str] = []
    sweep = sweep_by(database, other, {KEY: "hold", OTHER: "retry"})
    sweep.freed = freed.append
    await sweep.turn()
    assert {(await read_job(database, job.id)).state for job in held} == {"dead"}
    assert {(await read_job(database, job.id)).state for job in again} == {"pending"}
    assert set(freed) == {OTHER}, "who waits for work is told of what may run again"
