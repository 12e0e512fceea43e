"""The one handler of the bench: it does what its payload says, and tells the ledger before and after."""

import asyncio
from functools import partial
from typing import Any

from sqlalchemy import insert, select

from acme_chaos.ledger import note
from acme_chaos.tables import effects, orders
from nocohost import App, DeadLetter, FenceLostError, Job, Retry, Snooze


class PlannedFailure(Exception):  # noqa: N818 - it is no error: the plan wants it
    """A failure that the payload asked for."""


async def work(job: Job, app: App) -> Any:
    """Work for a while and end as planned; ``begin`` and ``end`` of the attempt stand in the ledger."""
    mark = partial(note, job=job.id, key=job.key, op=job.payload.op, fence=job.fence, node=app.node.id)
    mark("begin", attempt=job.attempt)
    try:
        if job.key == "chaos:order":
            await see_order(job, app, mark)
        await asyncio.sleep(job.payload.seconds)
        if job.key == "chaos:relay":
            await relay(job, app)
        outcome = planned(job)
    except asyncio.CancelledError:
        mark("end", outcome="interrupted")
        raise
    except FenceLostError:
        mark("end", outcome="refused")
        raise
    except BaseException as error:
        mark("end", outcome="failed", error=type(error).__name__)
        raise
    mark("end", outcome=word_for(outcome))
    return outcome


async def see_order(job: Job, app: App, mark: Any) -> None:
    """Look for the order that was written in the transaction of this very job."""
    async with app.database.connect() as connection:
        found = await connection.scalar(select(orders.c.op).where(orders.c.op == job.payload.op))
    if found is None:
        mark("missing", table="chaos_orders")


async def relay(job: Job, app: App) -> None:
    """Once, however often the job is attempted: an effect and a child job, in one transaction with the claim."""
    async with job.transaction() as connection:
        if await connection.scalar(select(effects.c.id).where(effects.c.job == job.id)):
            return
        plan = {"op": f"{job.payload.op}/child"}
        child = await app.queue.enqueue("chaos:quick", plan, connection=connection)
        await connection.execute(insert(effects).values(job=job.id, fence=job.fence, child=child.id))
        await asyncio.sleep(job.payload.seconds / 20)


def planned(job: Job) -> Any:
    """Return the outcome that the plan names for this attempt, or raise it."""
    plan = job.payload
    if plan.how == "dead":
        return DeadLetter("as planned")
    if plan.how == "snooze" and job.fence == 1:
        return Snooze(0.3)
    if job.attempt <= plan.fails:
        if plan.how == "retry":
            return Retry(0.1)
        raise PlannedFailure(plan.op)
    return {"op": plan.op, "fence": job.fence}


def word_for(outcome: Any) -> str:
    """Return the ledger's word for an outcome."""
    words = {Retry: "failed", Snooze: "snoozed", DeadLetter: "dead"}
    return words.get(type(outcome), "done")
