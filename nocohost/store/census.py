"""The cluster counted: which nodes are known, and how much waits and runs under each key."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.nodes import GONE_STATES, NodeRow, live_nodes
from nocohost.store.schema import jobs, nodes
from nocohost.store.types import db_now

NODES = 1000


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """The queue of one key."""

    key: str
    pending: int
    running: int
    oldest_seconds: float
    """How long the oldest due job has been due; 0 when none is."""
    servers: int
    """Live nodes that serve the key."""


async def known_nodes(connection: AsyncConnection) -> list[NodeRow]:
    """Return the nodes that have a row, gone ones too, by name; one whose lease has ended is ``lost``."""
    silent = (nodes.c.lease_until <= db_now()) & nodes.c.state.not_in(GONE_STATES)
    columns = [column for column in nodes.c if column.name != "state"]
    query = select(*columns, case((silent, "lost"), else_=nodes.c.state).label("state"))
    rows = await connection.execute(query.order_by(nodes.c.name, nodes.c.started_at.desc(), nodes.c.id).limit(NODES))
    return [NodeRow(**row._asdict()) for row in rows]


def node_json(row: NodeRow) -> dict[str, Any]:
    """Return the node as the contract's JSON object."""
    return {
        "id": row.id,
        "name": row.name,
        "mode": row.mode,
        "requests": row.requests,
        "services": list(row.services),
        "state": row.state,
        "beat_at": row.beat_at.isoformat().replace("+00:00", "Z"),
        "version": row.version,
        "plugins": dict(row.plugins),
    }


async def queue_numbers(connection: AsyncConnection, keys: Iterable[str] = ()) -> list[QueueNumbers]:
    """Return the numbers of each key that has jobs or a live node, and of those in ``keys``, by key."""
    due = case((jobs.c.run_at <= db_now(), jobs.c.run_at))
    query = select(jobs.c.key, jobs.c.state, func.count(), func.min(due), db_now()).group_by(jobs.c.key, jobs.c.state)
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    for key, state, count, due_since, now in await connection.execute(query):
        counts[key, state] = count
        if state == "pending" and due_since is not None:
            oldest[key] = max((now - due_since).total_seconds(), 0.0)
    servers: dict[str, int] = {}
    for node in await live_nodes(connection):
        for key in node.services if node.state == "serving" else ():
            servers[key] = servers.get(key, 0) + 1
    return [
        QueueNumbers(
            key,
            counts.get((key, "pending"), 0),
            counts.get((key, "running"), 0),
            oldest.get(key, 0.0),
            servers.get(key, 0),
        )
        for key in sorted({*keys, *servers, *(key for key, _ in counts)})
    ]
