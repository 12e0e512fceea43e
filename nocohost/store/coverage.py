"""Coverage: which live nodes serve which service key, and how much work waits under it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json
from sqlalchemy import and_, case, func, not_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import WorkerModeError
from nocohost.node.mode import parse_grammar
from nocohost.store.keys import KeyRow, read_keys
from nocohost.store.nodes import NodeRow, live_nodes, node_lives
from nocohost.store.schema import jobs
from nocohost.store.types import db_now, instant_text

COUNTED = 1000
"""Jobs that a glimpse counts at most."""
# One statement, whatever lies in the table: both walks step from key to key by an index, and only what nobody serves is
# counted. A key cannot hold what LIKE or JSON would read as more than itself.
GLIMPSE = """
WITH RECURSIVE plain(key) AS (
  SELECT min(j.key) FROM nocohost_jobs AS j WHERE j.state = 'pending' AND j."group" IS NULL
  UNION ALL
  SELECT (SELECT min(j.key) FROM nocohost_jobs AS j
          WHERE j.state = 'pending' AND j."group" IS NULL AND j.key > plain.key)
  FROM plain WHERE plain.key IS NOT NULL
), grouped(key) AS (
  SELECT min(j.key) FROM nocohost_jobs AS j WHERE j."group" IS NOT NULL
  UNION ALL
  SELECT (SELECT min(j.key) FROM nocohost_jobs AS j WHERE j."group" IS NOT NULL AND j.key > grouped.key)
  FROM grouped WHERE grouped.key IS NOT NULL
), serving(services) AS (
  SELECT CAST(n.services AS TEXT) FROM nocohost_nodes AS n WHERE n.state = 'serving' AND n.lease_until > <now>
), alone(key) AS (
  SELECT names.key FROM (SELECT key FROM plain UNION SELECT key FROM grouped) AS names
  WHERE names.key IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM serving WHERE serving.services LIKE '%"' || names.key || '"%')
    AND NOT EXISTS (SELECT 1 FROM nocohost_keys AS k WHERE k.key = names.key AND k.paused_at IS NOT NULL)
)
SELECT services, 0 FROM serving
UNION ALL
SELECT '@' || min(CAST(n.id AS TEXT)), 0 FROM nocohost_nodes AS n WHERE n.lease_until > <now>
UNION ALL
SELECT alone.key,
  (SELECT count(*) FROM (SELECT 1 FROM nocohost_jobs AS j WHERE j.key = alone.key AND j.state = 'pending'
                         AND j."group" IS NULL AND j.run_at <= <now> LIMIT <counted>) AS found)
  + (SELECT count(*) FROM (SELECT 1 FROM nocohost_jobs AS j WHERE j.key = alone.key AND j."group" IS NOT NULL
                           AND j.state = 'pending' AND j.run_at <= <now> LIMIT <counted>) AS found)
FROM alone
""".replace("<counted>", str(COUNTED))


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Who serves what at one moment."""

    served: frozenset[str]
    """Keys that a live node serves."""
    unserved: Mapping[str, int]
    """Due jobs of keys that no live node serves and nobody has paused; a thousand or more are counted as such."""
    first: str | None = None
    """Id of the live node that started first, by its own clock: who speaks for all."""

    @property
    def lines(self) -> list[str]:
        """Return one line for each key whose work nobody serves."""
        return [unserved_line(key, jobs) for key, jobs in sorted(self.unserved.items())]


@dataclass(frozen=True, slots=True)
class KeyCoverage:
    """One service key: who serves it, and its queue."""

    key: str
    state: str
    """``served``, ``unserved`` (no node ever served it), ``gone`` (none does now), ``paused`` or ``quarantined``."""
    nodes: tuple[str, ...]
    """Ids of the live nodes that serve it."""
    pending: int
    due: int
    running: int
    orphans: int
    oldest_seconds: float
    """How long the oldest due job has been due; 0 when none is."""
    row: KeyRow

    @property
    def unserved(self) -> int:
        """Return how many jobs are due although no live node serves the key and nobody has paused it."""
        return 0 if self.nodes or self.row.paused_at is not None else self.due


@dataclass(frozen=True, slots=True)
class _Numbers:
    pending: int = 0
    due: int = 0
    running: int = 0
    orphans: int = 0
    oldest_seconds: float = 0.0


def unserved_line(key: str, jobs: int) -> str:
    """Return what people read of so many due jobs that nobody serves."""
    return f"no live node serves {key}: {counted(jobs)} due"


def counted(jobs: int) -> str:
    """Return the number of jobs that a glimpse has seen, in words."""
    number = f"{COUNTED} or more" if jobs >= COUNTED else str(jobs)
    return f"{number} job{'' if jobs == 1 else 's'}"


async def glimpse(connection: AsyncConnection) -> Glimpse:
    """Look at who serves what and at the work that nobody serves, by one cheap statement."""
    clock = "clock_timestamp()" if connection.dialect.name == "postgresql" else "nocohost_now()"
    served: set[str] = set()
    unserved: dict[str, int] = {}
    first = None
    for what, count in await connection.execute(text(GLIMPSE.replace("<now>", f"(SELECT {clock})"))):
        if what is None:  # no node lives
            continue
        if what.startswith("["):
            served.update(from_json(what))
        elif what.startswith("@"):
            first = str(UUID(what[1:]))
        elif count:
            unserved[what] = count
    return Glimpse(frozenset(served), unserved, first)


async def read_coverage(connection: AsyncConnection, declared: Mapping[str, str]) -> list[KeyCoverage]:
    """Return the coverage of each key that is declared, served, paused or has jobs, by key.

    ``declared`` names the distribution of each key that an installed plugin offers, "" where that is not known: a live
    node which has that distribution and whose mode covers the key, and which does not serve it, has quarantined it.
    """
    numbers = await _numbers(connection)
    nodes = await live_nodes(connection)
    rows = await read_keys(connection)
    served = {key for node in nodes for key in node.services}
    return [
        _judged(key, nodes, numbers.get(key, _Numbers()), rows.get(key, KeyRow(key)), declared)
        for key in sorted({*declared, *served, *rows, *numbers})
    ]


def coverage_json(one: KeyCoverage) -> dict[str, Any]:
    """Return the coverage of a key as the contract's JSON object."""
    return {
        "key": one.key,
        "state": one.state,
        "nodes": list(one.nodes),
        "pending": one.pending,
        "running": one.running,
        "orphans": one.orphans,
        "oldest_seconds": one.oldest_seconds,
    }


def queue_json(one: KeyCoverage) -> dict[str, Any]:
    """Return the queue of a key as a JSON object: its coverage, and what people have asked of it."""
    return {
        **coverage_json(one),
        "due": one.due,
        "paused_at": instant_text(one.row.paused_at),
        "paused_by": one.row.paused_by,
        "drain_until": instant_text(one.row.drain_until),
        "first_served_at": instant_text(one.row.first_served_at),
        "last_served_at": instant_text(one.row.last_served_at),
    }


def asks_for(node: NodeRow, key: str) -> bool:
    """Tell whether the worker mode of a node covers ``key``, whether it serves it or not."""
    try:
        return parse_grammar(node.mode).mode.covers(key)
    except WorkerModeError:  # written by a version that knows more terms than this one
        return False


def has_quarantined(node: NodeRow, key: str, declared: Mapping[str, str]) -> bool:
    """Tell whether a node has what offers ``key`` installed, was asked to serve it, and does not."""
    return key not in node.services and declared.get(key, "") in node.plugins and asks_for(node, key)


def _judged(
    key: str, nodes: Sequence[NodeRow], numbers: _Numbers, row: KeyRow, declared: Mapping[str, str]
) -> KeyCoverage:
    servers = tuple(node.id for node in nodes if node.state == "serving" and key in node.services)
    state = "gone" if row.first_served_at is not None else "unserved"
    if row.paused_at is not None:
        state = "paused"
    elif servers:
        state = "served"
    elif any(has_quarantined(node, key, declared) for node in nodes):
        state = "quarantined"
    return KeyCoverage(
        key,
        state,
        servers,
        numbers.pending,
        numbers.due,
        numbers.running,
        numbers.orphans,
        numbers.oldest_seconds,
        row,
    )


async def _numbers(connection: AsyncConnection) -> dict[str, _Numbers]:
    is_due = and_(jobs.c.state == "pending", jobs.c.run_at <= select(db_now()).scalar_subquery())
    is_running = jobs.c.state == "running"
    query = select(
        jobs.c.key,
        func.sum(case((is_running, 0), else_=1)),
        func.sum(case((is_due, 1), else_=0)),
        func.sum(case((is_running, 1), else_=0)),
        func.sum(case((and_(is_running, not_(node_lives(jobs.c.node_id))), 1), else_=0)),
        func.min(case((is_due, jobs.c.run_at))),
        db_now(),
    )
    found = await connection.execute(query.group_by(jobs.c.key))
    return {
        key: _Numbers(int(pending), int(due), int(running), int(orphans), _age(oldest, now))
        for key, pending, due, running, orphans, oldest, now in found
    }


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)
