"""What follows a commit: called once it can be seen, and never after a rollback."""
# ruff: noqa: PT012 - what an error does to its block is what is tested

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import StoreError
from nocohost.store.commits import on_commit
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import limits


async def write(connection: AsyncConnection, key: str = "a:b") -> None:
    await connection.execute(insert(limits).values(key=key))


async def test_a_call_comes_after_the_commit_can_be_seen(database: SqlDatabase) -> None:
    seen: list[asyncio.Task[list[str]]] = []

    async def look() -> list[str]:
        async with database.connect() as connection:
            return list(await connection.scalars(select(limits.c.key)))

    async with database.begin() as connection:
        await write(connection)
        on_commit(connection, lambda: seen.append(asyncio.create_task(look())))
        await asyncio.sleep(0)
        assert seen == []
    assert [await task for task in seen] == [["a:b"]]


def failing(connection: AsyncConnection) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("spoil", [failing, AsyncConnection.rollback])
async def test_nothing_is_called_after_a_rollback(database: SqlDatabase, spoil: Callable[..., object]) -> None:
    called: list[str] = []
    try:
        async with database.begin() as connection:
            await write(connection)
            on_commit(connection, lambda: called.append("rolled back"))
            rolling = spoil(connection)
            await rolling  # type: ignore[misc]
    except ZeroDivisionError:
        pass
    async with database.begin() as connection:
        await write(connection)
        on_commit(connection, lambda: called.append("committed"))
    assert called == ["committed"]


async def test_nothing_is_called_when_the_commit_is_refused(database: SqlDatabase) -> None:
    called: list[str] = []
    async with database.begin() as connection:
        await write(connection)
    with pytest.raises(StoreError):
        async with database.begin() as connection:
            on_commit(connection, lambda: called.append("refused"))
            await write(connection)
    assert called == []
    async with database.autocommit() as connection:
        await write(connection, "c:d")
    assert called == []
