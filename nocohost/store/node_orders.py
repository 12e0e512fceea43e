"""What people ask of nodes: be quiet, serve again, stop. The node obeys when it next beats."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import NodeConflictError, NodeNotFoundError
from nocohost.api.keys import nearest
from nocohost.store.census import known_nodes
from nocohost.store.nodes import GONE_STATES, NodeRow
from nocohost.store.schema import nodes
from nocohost.store.types import db_now


async def find_node(connection: AsyncConnection, text: str) -> NodeRow:
    """Return the node with this id, or the live one whose name, or else whose id or name in part, begins so.

    Raises ``NodeNotFoundError``, and ``NodeConflictError`` when several fit.
    """
    rows = await known_nodes(connection)
    exact = [row for row in rows if row.id == text]
    if exact:
        return exact[0]
    alive = [row for row in rows if row.state not in GONE_STATES]
    for fits in (
        [row for row in alive if row.name == text],
        [row for row in alive if text and (row.name.startswith(text) or row.id.startswith(text))],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise NodeConflictError(f"{text!r} may mean {len(fits)} nodes: {_listed(fits)}", hint="name one by its id")
    gone = [row for row in rows if text and (row.name == text or row.id.startswith(text))]
    if gone:
        return max(gone, key=lambda row: row.beat_at)
    raise not_found(text, [row.name for row in alive])


async def quiet_node(connection: AsyncConnection, node_id: str) -> NodeRow:
    """Let a serving node claim nothing more from the commit on, and return it; its jobs go on.

    The connection must be in a write transaction, here and below. Raises ``NodeNotFoundError``, and
    ``NodeConflictError`` for a node that does not serve.
    """
    return await _order(connection, node_id, ("serving",), {"state": "quiet"}, fine=("quiet",))


async def resume_node(connection: AsyncConnection, node_id: str) -> NodeRow:
    """Let a quiet node claim again, and return it; raises as ``quiet_node``."""
    return await _order(connection, node_id, ("quiet",), {"state": "serving"}, fine=("serving",))


async def stop_node(connection: AsyncConnection, node_id: str) -> NodeRow:
    """Ask a live node to drain and to end, and return it; raises as ``quiet_node``."""
    states = ("starting", "serving", "quiet")
    return await _order(connection, node_id, states, {"stop_requested": True}, fine=("draining",))


def not_found(text: str, names: Sequence[str] = ()) -> NodeNotFoundError:
    """Return the error for a node that is not there."""
    suggestion = nearest(text, names)
    hint = f"did you mean {suggestion!r}?" if suggestion else "see: nocohost nodes list"
    return NodeNotFoundError(f"there is no node {text!r}", hint=hint)


async def _order(
    connection: AsyncConnection, node_id: str, states: Sequence[str], values: dict[str, object], *, fine: Sequence[str]
) -> NodeRow:
    """Write ``values`` into a live node that is in one of ``states``; one in a ``fine`` state needs nothing."""
    lives: ColumnElement[bool] = and_(nodes.c.id == node_id, nodes.c.lease_until > db_now())
    done = await connection.execute(update(nodes).where(lives, nodes.c.state.in_(states)).values(**values))
    rows = await known_nodes(connection, node_id)
    if not rows:
        raise not_found(node_id)
    row = rows[0]
    if not done.rowcount and row.state not in fine:
        raise NodeConflictError(
            f"node {row.name} ({row.id}) is {row.state}", hint=f"only a node that is {' or '.join(states)} can do that"
        )
    return row


def _listed(rows: Sequence[NodeRow]) -> str:
    return ", ".join(f"{row.name} {row.id}" for row in rows)
