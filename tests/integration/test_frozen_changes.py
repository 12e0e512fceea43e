"""A process that freezes as it hands back or cancels jobs must not keep the outcomes of other jobs waiting for long."""

import pytest
from integration.queue_bench import claim, join_node, make_queue, read_job
from integration.test_frozen_sweep import frozen_process, stopped

from nocohost.store.database import SqlDatabase
from nocohost.store.hot.values import Settlement

FREEZING = """
import asyncio, os, signal, sys
from integration.queue_bench import KEY, LOG, make_consumer
from nocohost.api.job import JobState
from nocohost.node.clock import SystemClock
from nocohost.queue import consumer, reports
from nocohost.store import job_filter
from nocohost.store.database import open_database
from nocohost.store.jobs import cancel_job

def freezing(change):
    async def freeze(*arguments):
        await change(*arguments)
        os.kill(os.getpid(), signal.SIGSTOP)
    return freeze

async def hand_back():
    consumer.hand_back = freezing(consumer.hand_back)
    await make_consumer(database, node)._release()

async def release_unknown():
    consumer.release_unknown = freezing(consumer.release_unknown)
    await make_consumer(database, node)._compare()

async def cancel():
    reports.cancel_job = freezing(cancel_job)
    await reports.JobReports(database, None).cancel(job)

async def cancel_by_request():
    from types import SimpleNamespace
    from aiohttp import web
    from aiohttp.test_utils import make_mocked_request
    from nocohost.web import jobs_api
    from nocohost.web.keys import APP, WAKE
    app = web.Application()
    app[APP] = SimpleNamespace(database=database)
    app[WAKE] = lambda key: None
    request = make_mocked_request("POST", "/", match_info={"id": job}, app=app)
    await jobs_api._operate(request, freezing(cancel_job))

async def cancel_by_verb():
    from nocohost.cli import jobs as verbs
    os.environ["NOCOHOST_DATABASE__URL"] = url
    await verbs._operate(freezing(cancel_job), job)

async def cancel_many():
    job_filter.CHANGES = {("cancel", True): freezing(job_filter._cancel)}
    await job_filter.change_jobs(database, "cancel", job_filter.JobFilter(KEY, JobState.RUNNING))

async def main():
    global database, url, node, job
    way, url, node, job = sys.argv[1:]
    database = open_database(url, clock=SystemClock(), log=LOG)
    await globals()[way]()

asyncio.run(main())
"""


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "way", ["hand_back", "release_unknown", "cancel", "cancel_by_request", "cancel_by_verb", "cancel_many"]
)
async def test_outcomes_wait_a_moment_only_for_a_frozen_change(
    database: SqlDatabase, pytestconfig: pytest.Config, way: str
) -> None:
    """They share a statement, whose limit is shorter than that of a transaction that is idle."""
    await make_queue(database).enqueue_many("shop:invoice", [{}] * 2)
    node = await join_node(database)
    rows = await claim(database, node, count=2)
    url = database._url.render_as_string(hide_password=False)
    with frozen_process(FREEZING, pytestconfig.rootpath / "tests", way, url, node, rows[0].id) as frozen:
        await stopped(frozen)
        settled = await database.hot.settle([Settlement(row.id, row.claim_id, "pending") for row in rows])
    assert len(settled) == 2
    states = [(await read_job(database, row.id)).state for row in rows]
    assert states == ["pending", "pending"], "what the frozen process has changed is undone"
