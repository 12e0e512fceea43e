"""Locks of nodes for tests: deaf ones, and a look at the rows behind them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select, update

from nocohost.api.clock import Clock
from nocohost.api.log import Log
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.store.database import SqlDatabase
from nocohost.store.hints import make_hints
from nocohost.store.locks import LeaseLocks
from nocohost.store.schema import locks

NAME = "shop.export"
Deaf = Callable[..., LeaseLocks]


@asynccontextmanager
async def deaf_nodes(database: SqlDatabase, log: Log) -> AsyncIterator[Deaf]:
    """Make the locks of a node that hears no hints, on a clock of the test's if it gives one."""
    made: list[LeaseLocks] = []

    def make(clock: Clock | None = None) -> LeaseLocks:
        clock = clock or SystemClock()
        hints = make_hints(database, clock=clock, log=log)
        made.append(LeaseLocks(database, hints, node_id=new_id(), clock=clock, log=log))
        return made[-1]

    yield make
    for node in made:
        await node.close()


async def row_of(database: SqlDatabase, name: str = NAME) -> Any:
    async with database.connect() as connection:
        return (await connection.execute(select(locks).where(locks.c.name == name))).one_or_none()


async def steal(database: SqlDatabase) -> None:
    """Give the lock to somebody else, as the end of its lease would allow."""
    async with database.begin() as connection:
        await connection.execute(update(locks).values(holder=new_id(), fence=locks.c.fence + 1))
