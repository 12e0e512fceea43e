"""The nodes that are known, those that are gone included."""

from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.claims import RUNNING
from nocohost.store.nodes import GONE_STATES, NodeRow
from nocohost.store.schema import jobs, nodes
from nocohost.store.types import db_now, instant_text

NODES = 1000


async def known_nodes(connection: AsyncConnection, node_id: str | None = None) -> list[NodeRow]:
    """Return the nodes that have a row, gone ones too, by name; one whose lease has ended is ``lost``.

    With ``node_id`` that one alone.
    """
    silent = (nodes.c.lease_until <= db_now()) & nodes.c.state.not_in(GONE_STATES)
    held = select(func.count()).where(jobs.c.node_id == nodes.c.id, jobs.c.state == RUNNING).correlate(nodes)
    columns = [column for column in nodes.c if column.name != "state"]
    query = select(
        *columns, case((silent, "lost"), else_=nodes.c.state).label("state"), held.scalar_subquery().label("running")
    )
    if node_id is not None:
        query = query.where(nodes.c.id == node_id)
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
        "started_at": instant_text(row.started_at),
        "beat_at": instant_text(row.beat_at),
        "version": row.version,
        "plugins": dict(row.plugins),
        "address": row.address,
        "running": row.running,
        "stop_requested": row.stop_requested,
    }
