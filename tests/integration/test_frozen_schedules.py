"""A process that freezes as it fires a schedule must not keep the tick from others until that is too late to fire."""

import time

import pytest
from integration.queue_bench import KEY, until
from integration.test_frozen_sweep import frozen_process, stopped
from integration.test_schedules import jobs_of, make_door, make_loop, nightly, wait_for

from nocohost.api.service import JobType
from nocohost.store.database import SqlDatabase

SECONDS = 40.0
"""A tick that is a minute late fires no more under ``skip``, and a transaction may otherwise be idle for as long."""
FREEZING = """
import asyncio, os, signal, sys
from integration.queue_bench import LOG
from integration.test_schedules import make_loop
from nocohost.node.clock import SystemClock
from nocohost.store.database import open_database

def freeze(key):
    os.kill(os.getpid(), signal.SIGSTOP)

async def main():
    loop = make_loop(open_database(sys.argv[1], clock=SystemClock(), log=LOG))
    loop._job_type = freeze
    await loop.turn()

asyncio.run(main())
"""


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_what_a_frozen_process_was_firing_is_fired_by_another(
    database: SqlDatabase, pytestconfig: pytest.Config
) -> None:
    await make_door(database).set(nightly(catch_up="once"))
    await wait_for(database, "nightly", 0.0)
    url = database._url.render_as_string(hide_password=False)
    with frozen_process(FREEZING, pytestconfig.rootpath / "tests", url) as frozen:
        await stopped(frozen)
        loop = make_loop(database)

        async def fired() -> bool:
            await loop.turn()
            return bool(await jobs_of(database))

        assert not await fired(), "the frozen process holds the row"
        await until(fired, SECONDS)
    assert len(await jobs_of(database)) == 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_node_too_slow_for_the_limit_fires_all_the_same(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every node is that slow, nobody else would do it."""
    monkeypatch.setattr("nocohost.queue.schedule.IDLE_MILLISECONDS", (100, 60_000))
    await make_door(database).set(nightly(catch_up="once"))
    await wait_for(database, "nightly", 0.0)
    loop = make_loop(database)

    def priority(key: str) -> JobType:
        time.sleep(0.5)
        return JobType(KEY)

    loop._job_type = priority
    await loop.turn()
    assert len(await jobs_of(database)) == 1
