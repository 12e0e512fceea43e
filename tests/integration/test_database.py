"""What begin, connect and autocommit promise, on both databases."""
# ruff: noqa: PT012 - what an error does to its block is what is tested

import asyncio
import threading
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import NestedWriteError, StoreError
from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.schema import limits


def adding(key: str) -> Callable[[AsyncConnection], Awaitable[object]]:
    return lambda connection: connection.execute(insert(limits).values(key=key))


async def keys(database: SqlDatabase) -> list[str]:
    async with database.connect() as connection:
        return list(await connection.scalars(select(limits.c.key).order_by(limits.c.key)))


def busy(database: SqlDatabase) -> int:
    """How many connections the pools have handed out."""
    engines = {database._engine, database._reading}
    return sum(engine.pool.checkedout() for engine in engines)  # type: ignore[attr-defined]


async def test_begin_commits_at_its_end(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        await adding("a")(connection)
        assert await keys(database) == []
    assert await keys(database) == ["a"]


async def test_begin_rolls_back_on_an_error_which_passes_unchanged(database: SqlDatabase) -> None:
    with pytest.raises(TimeoutError, match="of the caller"):
        async with database.begin() as connection:
            await adding("a")(connection)
            raise TimeoutError("of the caller, not of the database")
    assert await keys(database) == []
    assert busy(database) == 0


async def test_autocommit_commits_each_statement_or_all(database: SqlDatabase, dialect: str) -> None:
    with pytest.raises(LookupError):
        async with database.autocommit() as connection:
            await adding("a")(connection)
            raise LookupError
    assert await keys(database) == (["a"] if dialect == "postgresql" else [])
    async with database.autocommit() as connection:
        await adding("b")(connection)
    assert "b" in await keys(database)


async def test_a_write_through_connect_is_refused(database: SqlDatabase) -> None:
    for _ in range(2):  # the refusal leaves the connection as it was
        with pytest.raises(StoreError, match=r"write through database\.connect\(\)") as raised:
            async with database.connect() as connection:
                await adding("a")(connection)
                await connection.commit()
        assert not raised.value.retryable
    async with database.begin() as connection:
        await adding("b")(connection)
    assert await keys(database) == ["b"]


async def test_a_reader_sees_one_state_while_others_write_on_sqlite(database: SqlDatabase, dialect: str) -> None:
    async with database.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(limits)) == 0
        async with database.begin() as writing:
            await adding("a")(writing)
        seen = await connection.scalar(select(func.count()).select_from(limits))
    assert seen == (0 if dialect == "sqlite" else 1)


async def test_begin_within_begin_of_the_same_task_raises_on_sqlite(database: SqlDatabase, dialect: str) -> None:
    async with database.begin() as connection:
        assert database.in_write_transaction is (dialect == "sqlite")
        if dialect == "sqlite":
            with pytest.raises(NestedWriteError, match=r"test_database\.py:\d+"):
                async with database.begin():
                    pytest.fail("must not get here")
        else:
            async with database.begin() as inner:
                await adding("b")(inner)
        await adding("a")(connection)
    assert not database.in_write_transaction
    assert "a" in await keys(database)


async def test_an_autocommit_within_begin_raises_on_sqlite_too(database: SqlDatabase, dialect: str) -> None:
    if dialect == "sqlite":
        async with database.begin():
            with pytest.raises(NestedWriteError):
                async with database.autocommit():
                    pytest.fail("must not get here")


@pytest.mark.usefixtures("breaking_off")
@pytest.mark.parametrize("opening", ["begin", "connect", "autocommit"])
async def test_a_cancellation_at_any_moment_leaves_nothing_behind(database: SqlDatabase, opening: str) -> None:
    async def use(attempt: int) -> None:
        async with getattr(database, opening)() as connection:
            if opening == "connect":
                await keys_of(connection)
            else:
                await adding(f"a {attempt}")(connection)
                await asyncio.sleep(0.001)
                await connection.exec_driver_sql("DELETE FROM nocohost_limits")

    async with database.begin() as connection:
        await adding("kept")(connection)
    for attempt in range(60):
        task = asyncio.create_task(use(attempt))
        await moment(attempt)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        assert busy(database) == 0, attempt
        async with asyncio.timeout(30), database.begin() as connection:
            await adding("probe")(connection)
            await connection.rollback()
    assert sum("_connection_worker_thread" in thread.name for thread in threading.enumerate()) <= 8


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("opening", "setting"), [("connect", "set_read_only"), ("autocommit", "set_autocommit")])
async def test_a_cancellation_while_a_session_is_set_up_takes_no_place_in_the_pool(
    database: SqlDatabase, opening: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()
    really_set = getattr(psycopg.AsyncConnection, setting)

    async def set_and_stand(connection: psycopg.AsyncConnection, value: bool) -> None:
        await really_set(connection, value)
        reached.set()
        await asyncio.Event().wait()

    async def use() -> None:
        async with getattr(database, opening)():
            pytest.fail("must not get here")

    await database.ping()
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, setting, set_and_stand)
        task = asyncio.create_task(use())
        await reached.wait()
        task.cancel()
        await asyncio.wait([task])
    assert busy(database) == 0
    with pytest.raises(LookupError):
        async with database.begin() as connection:
            await adding("a")(connection)
            raise LookupError
    assert await keys(database) == []


async def moment(number: int) -> None:
    """Let a little more time pass with each number: loop steps first, then fractions of a millisecond."""
    if number < 30:
        for _ in range(number):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep((number - 30) * 0.0003)


async def keys_of(connection: AsyncConnection) -> list[str]:
    return list(await connection.scalars(select(limits.c.key)))


@pytest.mark.usefixtures("breaking_off")
async def test_a_cancelled_wait_for_the_turn_does_not_keep_it(database: SqlDatabase) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.begin() as connection:
            await adding("a")(connection)
            inside.set()
            await leave.wait()

    async def want() -> None:
        async with database.begin() as connection:
            await adding("b")(connection)

    holder = asyncio.create_task(hold())
    await inside.wait()
    wanting = [asyncio.create_task(want()) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in wanting:
        task.cancel()
    leave.set()
    await holder
    await asyncio.wait(wanting)
    async with asyncio.timeout(30), database.begin() as connection:
        await adding("c")(connection)
    assert {"a", "c"} <= set(await keys(database))


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_sqlite_forces_to_disk_what_was_asked_for(
    migrated_url: Callable[[], str], log: Log, synchronous: str, level: int
) -> None:
    database = open_database(migrated_url(), clock=SystemClock(), log=log, synchronous=synchronous)
    async with database.begin() as connection:
        assert await connection.scalar(text("PRAGMA synchronous")) == level
    engine = database.open_sync()
    with engine.connect() as beat:
        assert beat.exec_driver_sql("PRAGMA synchronous").scalar() == level
    engine.dispose()
    await database.close()
