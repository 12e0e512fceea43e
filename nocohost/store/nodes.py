"""The nodes of the cluster: one row per boot, whose lease is the lease of every job that the node runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Insert, case, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.schema import jobs, nodes
from nocohost.store.types import db_after, db_now

GONE_STATES = ("stopped", "lost")


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a node tells about itself when it joins. ``services`` are the keys it really serves."""

    id: str
    name: str
    mode: str
    requests: bool
    services: Sequence[str]
    version: str
    plugins: Mapping[str, str]
    """Distribution -> version."""
    address: str | None = None
    """Where the node answers, for people."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node as it is stored."""

    id: str
    name: str
    mode: str
    requests: bool
    services: Sequence[str]
    state: str
    started_at: datetime
    beat_at: datetime
    lease_until: datetime
    version: str
    plugins: Mapping[str, str]
    address: str | None
    presence: int | None = None
    stop_requested: bool = False
    running: int = 0
    """Jobs that the node holds, where they are counted."""


class Standing(NamedTuple):
    """Where a node stands by its row, as its heartbeat finds it; ``is_new`` when somebody had deleted the row."""

    state: str
    stop_requested: bool = False
    is_new: bool = False


def node_lives(node_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that the node with this id has a row whose lease has not ended."""
    return exists().where(nodes.c.id == node_id, nodes.c.lease_until > db_now()).correlate_except(nodes)


async def register_node(
    connection: AsyncConnection, record: NodeRecord, *, lease_seconds: float, state: str = "starting"
) -> None:
    """Let a node join; its lease starts now."""
    await connection.execute(_insertion(record, lease_seconds, state))


async def set_node_state(connection: AsyncConnection, node_id: str, state: str) -> None:
    """Say where the node stands: starting, serving, quiet, draining. Only a serving node claims."""
    await connection.execute(update(nodes).where(nodes.c.id == node_id).values(state=state))


async def leave_cluster(connection: AsyncConnection, node_id: str) -> None:
    """Say that the node has stopped; what it should still hold is an orphan from now on."""
    await connection.execute(
        update(nodes).where(nodes.c.id == node_id).values(state="stopped", beat_at=db_now(), lease_until=db_now())
    )


def beat(
    connection: Connection, record: NodeRecord, *, lease_seconds: float, state: str, presence: Any = None
) -> Standing:
    """Renew the lease of a node, from the thread of its heartbeat; return where it stands, and what is asked of it.

    ``state`` is where the node stands by its own account: it reaches a row that has not heard of it yet, or that others
    took for lost, but a node made quiet stays so, and a late beat turns nothing back. A row that somebody deleted is
    made anew. What the node held may have moved on meanwhile; its claims are refused then. ``presence`` is what shows
    others that the process lives, see ``nocohost.store.presence``.
    """
    behind = nodes.c.state.in_(("lost", "starting"))
    renewing = (
        update(nodes)
        .where(nodes.c.id == record.id, nodes.c.state != "stopped")
        .values(
            beat_at=db_now(),
            lease_until=db_after(lease_seconds),
            presence=presence,
            state=state if state == "draining" else case((behind, state), else_=nodes.c.state),
        )
    )
    renewed = connection.execute(renewing.returning(nodes.c.state, nodes.c.stop_requested)).first()
    if renewed is not None:
        return Standing(renewed.state, bool(renewed.stop_requested))
    if connection.scalar(select(nodes.c.id).where(nodes.c.id == record.id)) is not None:
        return Standing("stopped")  # it has left the cluster meanwhile: a beat that comes late does not bring it back
    connection.execute(_insertion(record, lease_seconds, state))
    return Standing(state, is_new=True)


async def live_nodes(connection: AsyncConnection) -> list[NodeRow]:
    """Return the nodes whose lease has not ended, by name."""
    query = select(nodes).where(nodes.c.lease_until > db_now(), nodes.c.state.not_in(GONE_STATES))
    rows = await connection.execute(query.order_by(nodes.c.name, nodes.c.id))
    return [NodeRow(**row._asdict()) for row in rows]


async def mark_lost(connection: AsyncConnection, node_id: str, absent: ColumnElement[bool]) -> list[str]:
    """Mark nodes whose lease ended without a goodbye, or that are ``absent``: theirs ends now; return their ids.

    A node that beats while this looks is not marked, nor is ``node_id``, which looks: its own watch decides about it.
    """
    lapsed = nodes.c.lease_until <= db_now()
    statement = (
        update(nodes)
        .where(nodes.c.id != node_id, nodes.c.state.not_in(GONE_STATES), or_(lapsed, absent))
        .values(state="lost", presence=None, lease_until=case((lapsed, nodes.c.lease_until), else_=db_now()))
        .returning(nodes.c.id)
    )
    return list((await connection.scalars(statement)).all())


async def remove_gone(connection: AsyncConnection, *, older_than_seconds: float) -> int:
    """Remove the rows of nodes that are gone for so long, as far as they hold no job."""
    holds = exists().where(jobs.c.node_id == nodes.c.id, jobs.c.state == "running").correlate_except(jobs)
    result = await connection.execute(
        delete(nodes).where(
            nodes.c.state.in_(GONE_STATES), nodes.c.lease_until <= db_after(-older_than_seconds), ~holds
        )
    )
    return int(result.rowcount)


def version_skew(rows: Iterable[NodeRow]) -> list[str]:
    """Return one line for nocohost, and for each distribution, of which live nodes have different versions."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        if row.state not in GONE_STATES:
            for name, version in {"nocohost": row.version, **row.plugins}.items():
                found.setdefault(name, Counter())[version] += 1
    return [
        f"live nodes have different versions of {name}: "
        + ", ".join(f"{version} on {count}" for version, count in sorted(versions.items()))
        for name, versions in sorted(found.items())
        if len(versions) > 1
    ]


def _insertion(record: NodeRecord, lease_seconds: float, state: str) -> Insert:
    return insert(nodes).values(
        id=record.id,
        name=record.name,
        mode=record.mode,
        requests=record.requests,
        services=sorted(record.services),
        version=record.version,
        plugins=dict(record.plugins),
        address=record.address,
        state=state,
        started_at=db_now(),
        beat_at=db_now(),
        lease_until=db_after(lease_seconds),
    )
