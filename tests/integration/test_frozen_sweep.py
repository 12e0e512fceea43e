"""A process that freezes in the middle of its sweep must not keep from others what it was about to free."""

import asyncio
import subprocess
import sys

import psutil
import pytest
from integration.queue_bench import claim, join_node, make_queue, make_sweep, read_job, until
from sqlalchemy import update

from nocohost.store.database import SqlDatabase
from nocohost.store.schema import nodes
from nocohost.store.types import db_after

SECONDS = 20.0
"""Within this a lost job runs elsewhere; a transaction may otherwise be idle for a minute."""
FREEZING = """
import asyncio, os, signal, sys
from integration.queue_bench import LOG, make_sweep
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.store.database import open_database

def freeze(lost):
    os.kill(os.getpid(), signal.SIGSTOP)

async def main():
    database = open_database(sys.argv[1], clock=SystemClock(), log=LOG)
    sweep = make_sweep(database, new_id())
    sweep.judge = freeze
    await sweep.turn()

asyncio.run(main())
"""


async def test_what_a_frozen_sweeper_has_locked_is_freed_by_another(
    database: SqlDatabase, pytestconfig: pytest.Config
) -> None:
    if database.dialect != "postgresql":
        pytest.skip("on SQLite a frozen writer holds the one lock, whatever others do")
    job = await make_queue(database).enqueue("shop:invoice", {})
    dead = await join_node(database)
    assert len(await claim(database, dead)) == 1
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == dead).values(lease_until=db_after(-1.0)))
    url = database._url.render_as_string(hide_password=False)
    tests = str(pytestconfig.rootpath / "tests")
    frozen = subprocess.Popen([sys.executable, "-c", FREEZING, url], cwd=tests)
    try:
        process = psutil.Process(frozen.pid)
        await until(lambda: asyncio.to_thread(lambda: process.status() == psutil.STATUS_STOPPED), 60.0)
        sweep = make_sweep(database, await join_node(database))

        async def freed() -> bool:
            await sweep.turn()
            return (await read_job(database, job.id)).state == "pending"

        assert not await freed(), "the frozen process holds the row"
        await until(freed, SECONDS)
    finally:
        frozen.kill()
        frozen.wait()
