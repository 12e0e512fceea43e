"""A process that freezes with a row of the queue locked must not keep it from others for long."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from integration.queue_bench import claim, join_node, make_queue, make_sweep, read_job, until
from sqlalchemy import update

from nocohost.store.database import SqlDatabase
from nocohost.store.orphans import RUN_AGAIN, Fate, Lost
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


COMMITTING = """
import asyncio, os, signal, sys
from integration.queue_bench import LOG, claim
from nocohost.node.clock import SystemClock
from nocohost.queue import claim as module
from nocohost.store.database import open_database

verify = module.verify_claim

async def freeze(connection, job):
    await verify(connection, job)
    os.kill(os.getpid(), signal.SIGSTOP)

async def main():
    module.verify_claim = freeze
    database = open_database(sys.argv[1], clock=SystemClock(), log=LOG)
    (row,) = await claim(database, sys.argv[2])
    async with module.HeldClaim(database, row).transaction():
        pass

asyncio.run(main())
"""


@contextmanager
def frozen_process(program: str, folder: Path, *arguments: str) -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=folder)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


async def stopped(process: psutil.Process) -> None:
    await until(lambda: asyncio.to_thread(lambda: process.status() == psutil.STATUS_STOPPED), 100.0)


async def lose(database: SqlDatabase, node: str) -> None:
    async with database.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == node).values(lease_until=db_after(-1.0)))


async def test_what_a_frozen_sweeper_has_locked_is_freed_by_another(
    database: SqlDatabase, pytestconfig: pytest.Config
) -> None:
    if database.dialect != "postgresql":
        pytest.skip("on SQLite a frozen writer holds the one lock, whatever others do")
    job = await make_queue(database).enqueue("shop:invoice", {})
    dead = await join_node(database)
    assert len(await claim(database, dead)) == 1
    await lose(database, dead)
    url = database._url.render_as_string(hide_password=False)
    tests = pytestconfig.rootpath / "tests"
    with frozen_process(FREEZING, tests, url) as frozen:
        await stopped(frozen)
        sweep = make_sweep(database, await join_node(database))

        async def freed() -> bool:
            await sweep.turn()
            return (await read_job(database, job.id)).state == "pending"

        assert not await freed(), "the frozen process holds the row"
        await until(freed, SECONDS)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_node_too_slow_for_the_limit_sweeps_all_the_same(database: SqlDatabase) -> None:
    """Where every node is that slow, nobody else would do it: it is given more time, turn by turn."""
    job = await make_queue(database).enqueue("shop:invoice", {})
    dead, slow = await join_node(database), await join_node(database)
    assert len(await claim(database, dead)) == 1
    await lose(database, dead)
    sweep = make_sweep(database, slow)

    def judge(lost: Lost) -> Fate:
        time.sleep(1.5)
        return RUN_AGAIN

    sweep.judge = judge
    await sweep.turn()
    row = await read_job(database, job.id)
    assert (row.state, row.losses) == ("pending", 1)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_handler_frozen_as_its_transaction_commits_keeps_its_job_for_seconds_only(
    database: SqlDatabase, pytestconfig: pytest.Config
) -> None:
    """Its lease decides then, as for any node: the row is not locked for a minute."""
    job = await make_queue(database).enqueue("shop:invoice", {})
    node = await join_node(database)
    url = database._url.render_as_string(hide_password=False)
    with frozen_process(COMMITTING, pytestconfig.rootpath / "tests", url, node) as frozen:
        await stopped(frozen)
        await lose(database, node)
        sweep = make_sweep(database, await join_node(database))

        async def freed() -> bool:
            await sweep.turn()
            return (await read_job(database, job.id)).state == "pending"

        assert not await freed(), "the frozen process holds the row"
        await until(freed, SECONDS)
