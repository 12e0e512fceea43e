"""Locks between real processes that are killed and frozen, on both databases."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from probes.lock_holder import LEASE_SECONDS, ROUNDS, TASKS
from sqlalchemy import insert, select

from nocohost.store.database import SqlDatabase
from nocohost.store.schema import limits

HOLDER = Path(__file__).parent.parent / "probes" / "lock_holder.py"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def url(migrated_url: Callable[[], str]) -> str:
    """One database for the processes of a test, and for the test."""
    return migrated_url()


@asynccontextmanager
async def holder(url: str, action: str = "hold") -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, str(HOLDER), url, action, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: Process) -> list[str]:
    """Return the words of what the process says next."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)).decode().split()


async def test_the_lock_of_a_killed_process_is_taken_when_its_lease_ends(url: str) -> None:
    async with holder(url) as first:
        assert await line(first) == ["held", "1"]
        async with holder(url) as second:
            waiting = asyncio.create_task(line(second))
            await asyncio.sleep(LEASE_SECONDS)  # renewed, so that nobody else gets it
            assert not waiting.done()
            first.kill()
            killed_at = asyncio.get_running_loop().time()
            assert await waiting == ["held", "2"]
            assert asyncio.get_running_loop().time() - killed_at < LEASE_SECONDS + 20


async def test_a_frozen_process_loses_the_lock_and_is_told_when_it_goes_on(url: str) -> None:
    async with holder(url) as first:
        assert await line(first) == ["held", "1"]
        async with holder(url) as second:
            first.send_signal(signal.SIGSTOP)
            assert await line(second) == ["held", "2"]
            first.send_signal(signal.SIGCONT)
            assert await line(first) == ["lost", "lock.lost", "False"]
            assert await asyncio.wait_for(first.wait(), PATIENCE_SECONDS) == 0
            # What the late process did on its way out has not freed the lock of the present holder.
            async with holder(url) as third:
                waiting = asyncio.create_task(line(third))
                await asyncio.sleep(LEASE_SECONDS)
                assert not waiting.done()
                second.kill()
                assert await waiting == ["held", "3"]


async def test_processes_that_count_under_the_lock_lose_no_count(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(limits).values(key="counter", concurrency=0))
    url = url_of(database)
    async with holder(url, "count") as first, holder(url, "count") as second, holder(url, "hold") as third:
        fences = []
        assert (await line(third))[0] == "held"
        third.kill()  # in the middle of it
        for process in (first, second):
            counted = [await line(process) for _ in range(TASKS * ROUNDS)]
            assert {word for word, _ in counted} == {"counted"}
            mine = [int(fence) for _, fence in counted]
            assert mine == sorted(mine)
            fences += mine
            assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
        assert len(set(fences)) == len(fences) == 2 * TASKS * ROUNDS
    async with database.connect() as connection:
        assert (await connection.execute(select(limits.c.concurrency))).scalar_one() == 2 * TASKS * ROUNDS


def url_of(database: SqlDatabase) -> str:
    """Return the URL with its password."""
    return database._url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+psycopg", "")
