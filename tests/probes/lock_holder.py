"""A process that holds a lock, or counts under one: ``lock_holder.py URL hold|count``. It prints what happens."""

import asyncio
import sys

import structlog
from sqlalchemy import select, update

from nocohost.api.errors import LockLostError
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.hints import make_hints
from nocohost.store.locks import LeaseLocks
from nocohost.store.schema import limits

NAME = "shop.export"
LEASE_SECONDS = 2.0
TASKS = 3
ROUNDS = 4


async def main(url: str, action: str) -> None:
    """Open what a node has of locks, and use it."""
    clock, log = SystemClock(), structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    database = open_database(url, clock=clock, log=log)
    hints = make_hints(database, clock=clock, log=log)
    await hints.start()
    locks = LeaseLocks(database, hints, node_id=new_id(), clock=clock, log=log)
    if action == "hold":
        await hold(locks)
    else:
        await asyncio.gather(*(count(database, locks) for _ in range(TASKS)))
    await locks.close()
    await hints.stop()
    await database.close()


async def hold(locks: LeaseLocks) -> None:
    """Hold the lock until it is lost."""
    try:
        async with locks.acquire(NAME, lease_seconds=LEASE_SECONDS) as lock:
            print("held", lock.fence, flush=True)
            await asyncio.Event().wait()
    except LockLostError as error:
        print("lost", error.code, lock.is_held, flush=True)


async def count(database: SqlDatabase, locks: LeaseLocks) -> None:
    """Read, wait, write, under the lock alone: whoever is not alone loses a count."""
    query = select(limits.c.concurrency).where(limits.c.key == "counter")
    for _ in range(ROUNDS):
        async with locks.acquire(NAME, lease_seconds=LEASE_SECONDS) as lock:
            async with database.connect() as connection:
                value = (await connection.execute(query)).scalar_one()
            await asyncio.sleep(0.001)
            async with database.begin() as connection:
                await connection.execute(update(limits).values(concurrency=value + 1))
            print("counted", lock.fence, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
