"""What an autoscaler asks about a key, read from the view that is its contract: ``nocohost_scaling``."""

from dataclasses import dataclass

from sqlalchemy import column, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

scaling = table("nocohost_scaling", column("key"), column("runnable"), column("running"), column("oldest_seconds"))


@dataclass(frozen=True, slots=True)
class ScalingNumbers:
    """How much work a key has; all 0 when it has none."""

    key: str
    runnable: int
    """Jobs that another free slot would start now."""
    running: int
    oldest_seconds: float
    """How long the oldest of the runnable has been due."""


async def scaling_numbers(connection: AsyncConnection, key: str) -> ScalingNumbers:
    """Return the numbers of ``key``."""
    row = (await connection.execute(select(scaling).where(scaling.c.key == key))).one_or_none()
    if row is None:
        return ScalingNumbers(key, 0, 0, 0.0)
    return ScalingNumbers(key, row.runnable, row.running, float(row.oldest_seconds))
