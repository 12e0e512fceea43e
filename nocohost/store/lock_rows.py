"""The statements of locks: each is one compare-and-set on the holder, decided by the database's clock."""

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.schema import locks
from nocohost.store.types import db_after, db_now
from nocohost.store.upsert import insert_into


async def take_lock(
    connection: AsyncConnection, name: str, holder: str, *, node_id: str, lease_seconds: float
) -> int | None:
    """Take the lock if it is free or its lease has ended, or ``holder`` has it; return its fence, None when held."""
    taking = {"holder": holder, "node_id": node_id, "lease_until": db_after(lease_seconds)}
    statement = (
        insert_into(connection, locks)
        .values(name=name, fence=1, **taking)
        .on_conflict_do_update(
            index_elements=[locks.c.name],
            set_={**taking, "fence": locks.c.fence + 1},
            where=or_(_is_free(), locks.c.holder == holder),
        )
        .returning(locks.c.fence)
    )
    fence: int | None = (await connection.execute(statement)).scalar_one_or_none()
    return fence


async def seconds_until_free(connection: AsyncConnection, name: str) -> float:
    """Return how long the lease of the lock still is; 0 when the lock is free."""
    query = select(locks.c.lease_until, db_now()).where(locks.c.name == name, ~_is_free())
    row = (await connection.execute(query)).one_or_none()
    return 0.0 if row is None else max((row[0] - row[1]).total_seconds(), 0.0)


async def renew_lock(connection: AsyncConnection, name: str, holder: str, *, lease_seconds: float) -> bool:
    """Let the lease start anew; return False when somebody else has taken the lock."""
    statement = update(locks).where(locks.c.name == name, locks.c.holder == holder)
    result = await connection.execute(statement.values(lease_until=db_after(lease_seconds)))
    return bool(result.rowcount)


async def free_lock(connection: AsyncConnection, name: str, holder: str) -> bool:
    """Free the lock; return False when somebody else has taken it. Its fence stays."""
    statement = update(locks).where(locks.c.name == name, locks.c.holder == holder)
    result = await connection.execute(statement.values(holder=None, lease_until=None))
    return bool(result.rowcount)


def _is_free() -> ColumnElement[bool]:
    return or_(locks.c.holder.is_(None), locks.c.lease_until <= db_now())
