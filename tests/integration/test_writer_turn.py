"""SQLite's one writer: who is next, and what becomes of a transaction that stays too long."""
# ruff: noqa: PT012 - what an error does to its block is what is tested

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import insert, select, text
from structlog.testing import LogCapture

from nocohost.api.errors import StoreUnavailableError, TransactionExpiredError
from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.store import database as database_module
from nocohost.store import engine as engine_module
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.schema import limits

TURN_SECONDS = 0.15

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def short_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "TURN_SECONDS", TURN_SECONDS)


async def add(database: SqlDatabase, key: str) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(limits).values(key=key))


async def keys(database: SqlDatabase) -> list[str]:
    async with database.connect() as connection:
        return list(await connection.scalars(select(limits.c.key).order_by(limits.c.key)))


async def test_writers_take_their_turns_in_the_order_in_which_they_asked(database: SqlDatabase) -> None:
    order: list[int] = []

    async def write(number: int) -> None:
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key=f"{number:02}"))
            order.append(number)

    await asyncio.gather(*(write(number) for number in range(20)))
    assert order == list(range(20))
    assert len(await keys(database)) == 20


@pytest.mark.usefixtures("short_turn")
async def test_an_old_transaction_is_rolled_back_named_and_refused(
    database: SqlDatabase, log_lines: LogCapture
) -> None:
    with pytest.raises(TransactionExpiredError, match=rf"{Path(__file__).name}:\d+ was open for 0.15 s"):
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="old"))
            await asyncio.sleep(TURN_SECONDS * 2)
            await connection.execute(insert(limits).values(key="late"))
    assert await keys(database) == []
    [line] = [entry for entry in log_lines.entries if entry["event"] == "transaction.expired"]
    assert Path(__file__).name in line["place"]
    await add(database, "next")
    assert await keys(database) == ["next"]


@pytest.mark.usefixtures("short_turn")
async def test_an_old_transaction_cannot_commit_even_if_its_owner_ignores_errors(database: SqlDatabase) -> None:
    with pytest.raises(TransactionExpiredError):
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="old"))
            await asyncio.sleep(TURN_SECONDS * 2)
            for attempt in range(3):
                with pytest.raises(TransactionExpiredError):
                    await connection.execute(insert(limits).values(key=f"late {attempt}"))
            with pytest.raises(TransactionExpiredError):
                await connection.commit()
    with pytest.raises(TransactionExpiredError):
        async with database.begin() as connection:
            await asyncio.sleep(TURN_SECONDS * 2)
    assert await keys(database) == []


@pytest.mark.usefixtures("short_turn")
async def test_others_write_as_soon_as_an_old_transaction_is_rolled_back(database: SqlDatabase) -> None:
    async def hold() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="old"))
            inside.set()
            await leave.wait()

    inside, leave = asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(hold())
    await inside.wait()
    await add(database, "next")
    leave.set()
    with pytest.raises(TransactionExpiredError):
        await holder
    assert await keys(database) == ["next"]


@pytest.mark.usefixtures("short_turn")
async def test_nothing_of_an_old_transaction_commits_whenever_it_expires(database: SqlDatabase) -> None:
    """The owner writes without a pause, so that the turn ends at every point of a statement."""
    for number in range(12):
        with pytest.raises(TransactionExpiredError):
            async with database.begin() as connection:
                for step in range(100_000):
                    await connection.execute(insert(limits).values(key=f"{number}.{step}"))
        assert await keys(database) == []
    await add(database, "next")


@pytest.mark.usefixtures("short_turn")
async def test_a_statement_on_its_way_when_the_turn_ends_does_not_commit_by_itself(database: SqlDatabase) -> None:
    """It was let through before the turn ended, and waits for another one of the same connection."""
    with pytest.raises(TransactionExpiredError):
        async with database.begin() as connection:
            late = insert(limits).values(key="on its way")
            await asyncio.gather(connection.execute(text(SLOW)), connection.execute(late), return_exceptions=True)
    assert await keys(database) == []


@pytest.mark.usefixtures("short_turn")
async def test_an_owner_cancelled_as_its_turn_ends_gives_it_back_once(database: SqlDatabase) -> None:
    async def hold() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(limits).values(key="old"))
            await asyncio.sleep(5)

    for offset in (-0.002, -0.001, 0, 0.0005, 0.001, 0.002):
        holder = asyncio.create_task(hold())
        await asyncio.sleep(TURN_SECONDS + offset)
        holder.cancel()
        await asyncio.wait([holder])
        async with asyncio.timeout(30), database.begin() as connection:
            assert not list(await connection.scalars(select(limits.c.key)))


@pytest.mark.usefixtures("short_turn")
async def test_a_transaction_whose_statement_failed_still_expires(database: SqlDatabase) -> None:
    """A cancelled statement loses its connection; the turn must end all the same."""

    async def hold() -> None:
        async with database.begin() as connection:
            try:
                async with asyncio.timeout(0.02):
                    await connection.execute(text(SLOW))
            except TimeoutError:
                await asyncio.sleep(3600)

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        await add(database, "next")
    holder.cancel()
    await asyncio.wait([holder])
    await add(database, "after")
    assert await keys(database) == ["after", "next"]


SLOW = """
INSERT INTO nocohost_limits (key)
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000000)
SELECT 'slow' || n FROM number
"""


async def test_another_process_that_writes_too_long_makes_begin_unavailable(
    migrated_url: Callable[[], str], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.1)
    url = migrated_url()
    here, there = (open_database(url, clock=SystemClock(), log=log) for _ in range(2))
    async with there.begin() as connection:
        await connection.execute(insert(limits).values(key="there"))
        with pytest.raises(StoreUnavailableError, match="locked"):
            await add(here, "here")
        assert await keys(here) == []
    await add(here, "here")
    assert await keys(there) == ["here", "there"]
    await here.close()
    await there.close()


async def test_a_cancelled_writer_leaves_no_lock_behind(database: SqlDatabase) -> None:
    """Not even while its traceback is kept, wherever in its transaction it was cancelled."""
    draw = Random(5)

    async def write() -> None:
        async with database.begin() as connection:
            await connection.execute(text("UPDATE nocohost_jobs SET priority = 1"))
            await connection.execute(text("SELECT 1"))

    for _ in range(60):
        writers = [asyncio.create_task(write()) for _ in range(6)]
        await asyncio.sleep(draw.random() * 0.01)
        for writer in writers:
            writer.cancel()
        kept = await asyncio.gather(*writers, return_exceptions=True)
        async with asyncio.timeout(30):
            await write()
        assert len(kept) == 6
