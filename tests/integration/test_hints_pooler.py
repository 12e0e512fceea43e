"""Hints behind a pooler in transaction mode: nothing is heard, it is said once, and nothing else goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from integration.queue_bench import until
from integration.test_hints import get, heard_by, listening
from probes.poolers import POOLERS, behind
from sqlalchemy import select, text
from structlog.testing import LogCapture

from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.store import hints_postgresql
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.hints import make_hints
from nocohost.store.locks import LeaseLocks
from nocohost.store.schema import locks
from nocohost.testing.postgres import PostgresServer

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@pytest.fixture(params=POOLERS)
async def pooled(
    request: pytest.FixtureRequest, postgresql_server: PostgresServer, migrated_url: Callable[[], str], log: Log
) -> AsyncIterator[tuple[SqlDatabase, SqlDatabase]]:
    """The same database, by way of the pooler and directly."""
    url = migrated_url()
    async with behind(request.param, postgresql_server, url) as pooled_url:
        pooled = open_database(pooled_url, clock=SystemClock(), log=log)
        direct = open_database(url, clock=SystemClock(), log=log)
        yield pooled, direct
        await pooled.close()
        await direct.close()


async def test_a_node_behind_a_pooler_says_once_that_it_hears_nothing_and_is_heard(
    pooled: tuple[SqlDatabase, SqlDatabase], log: Log, log_lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints_postgresql, "PROBE_SECONDS", 0.3)
    indirect, direct = pooled
    deaf = make_hints(indirect, clock=SystemClock(), log=log)
    await deaf.start()

    async def is_told() -> bool:
        return "hints.deaf" in [entry["event"] for entry in log_lines.entries]

    await until(is_told)
    async with listening(direct, log) as one:
        heard, nothing = await heard_by(one), await heard_by(deaf)
        deaf.send("job", "shop:invoice")
        assert await get(heard) == "shop:invoice"
        one.send("job", "shop:invoice")
        await asyncio.sleep(0.1)
        assert nothing.empty()
    await deaf.stop()
    assert [entry["event"] for entry in log_lines.entries] == ["hints.deaf"]


async def test_no_setting_of_a_hint_is_left_on_the_connections_of_a_pooler(
    pooled: tuple[SqlDatabase, SqlDatabase], log: Log
) -> None:
    indirect, direct = pooled
    deaf = make_hints(indirect, clock=SystemClock(), log=log)
    await deaf.start()
    async with listening(direct, log) as one:
        heard = await heard_by(one)
        for number in range(20):
            deaf.send("job", f"shop:n{number}")
            await get(heard)
            async with indirect.begin() as connection:
                wanted = "SELECT reset_val = setting FROM pg_settings WHERE name = 'synchronous_commit'"
                assert (await connection.execute(text(wanted))).scalar_one()
    await deaf.stop()


async def test_locks_work_behind_a_pooler(pooled: tuple[SqlDatabase, SqlDatabase], log: Log) -> None:
    indirect, _ = pooled
    clock = SystemClock()
    hints = make_hints(indirect, clock=clock, log=log)
    node = LeaseLocks(indirect, hints, node_id=new_id(), clock=clock, log=log)

    async def take() -> int:
        async with node.acquire("shop.export", wait_seconds=10) as lock:
            return lock.fence

    assert sorted(await asyncio.gather(*(take() for _ in range(5)))) == [1, 2, 3, 4, 5]
    async with indirect.connect() as connection:
        assert (await connection.execute(select(locks.c.holder))).scalar_one() is None
