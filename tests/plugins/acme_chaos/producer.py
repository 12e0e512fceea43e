"""A producer inside the node: orders and their jobs in one transaction, some rolled back, while the node lives."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from sqlalchemy import insert

from acme_chaos.ledger import note, run_folder
from acme_chaos.tables import orders
from nocohost import App, NocohostError, hookimpl

ROLLED_BACK = 0.3
"""The share of transactions that change their mind."""
PAUSE_SECONDS = 0.1


class ChangedMind(Exception):  # noqa: N818 - no error: the way to roll back
    """Rolls a transaction back after both of its writes."""


@hookimpl
@asynccontextmanager
async def node_lifespan(app: App) -> AsyncIterator[None]:
    """Produce from the node's start to its drain."""
    producing = asyncio.create_task(produce(app))
    try:
        yield
    finally:
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)


async def produce(app: App) -> None:
    """Make one thing after another until the run says that it is enough."""
    name = f"{app.node.name}-{os.getpid()}"
    dice = random.Random(f"{os.environ.get('CHAOS_SEED', '0')} {name}")
    for number in count():
        await asyncio.sleep(PAUSE_SECONDS * dice.uniform(0.5, 1.5))
        if (run_folder() / "enough").exists():
            return
        if dice.random() < 0.5:
            await place_order(app, f"order-{name}-{number}", changes_mind=dice.random() < ROLLED_BACK)
        else:
            await enqueue_alone(app, f"inside-{name}-{number}")


async def place_order(app: App, op: str, *, changes_mind: bool) -> None:
    """Write an order and its job in one transaction; on a change of mind, after both, roll both back."""
    note("invoke", "client", act="order", op=op)
    try:
        async with app.database.begin() as connection:
            await connection.execute(insert(orders).values(op=op))
            job = await app.queue.enqueue("chaos:order", {"op": op}, connection=connection)
            if changes_mind:
                raise ChangedMind
    except ChangedMind:
        note("fail", "client", act="order", op=op, why="rolled back")
    except NocohostError as error:
        note("info", "client", act="order", op=op, why=str(error))
    else:
        note("ok", "client", act="order", op=op, job=job.id)


async def enqueue_alone(app: App, op: str) -> None:
    """Enqueue a job in a transaction of the queue's own, once and without an idempotency key."""
    note("invoke", "client", act="enqueue", op=op)
    try:
        job = await app.queue.enqueue("chaos:quick", {"op": op})
    except NocohostError as error:
        note("info", "client", act="enqueue", op=op, why=str(error))
    else:
        note("ok", "client", act="enqueue", op=op, job=job.id)
