"""Why a job is not running, or where it is: the reasons that hold now, each with what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.job import JobState
from nocohost.store.claims import RUNNING
from nocohost.store.coverage import asks_for, has_quarantined
from nocohost.store.jobs import JobRow, get_job
from nocohost.store.keys import KeyRow, count_running
from nocohost.store.limits import LimitRow
from nocohost.store.nodes import NodeRow, live_nodes
from nocohost.store.schema import jobs, keys, limits
from nocohost.store.types import db_now, instant_text

NAMED = 3
"""Nodes that a sentence names; of more it gives the number."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that holds of a job; ``code`` is one of the contract's."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A job and the reasons why it stands where it does; there is always one."""

    job: JobRow
    reasons: Sequence[Reason]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as the contract's JSON object."""
        reasons = [{"code": one.code, "message": one.message} for one in self.reasons]
        return {"id": self.job.id, "state": self.job.state.value, "reasons": reasons}


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the reasons are judged by, read at one moment or close to it."""

    job: JobRow
    now: datetime
    nodes: Sequence[NodeRow]
    key: KeyRow
    declared: Mapping[str, str]

    @property
    def servers(self) -> list[NodeRow]:
        """Return the nodes that claim jobs of this key now."""
        return [node for node in self.nodes if node.state == "serving" and self.job.key in node.services]


async def explain_job(connection: AsyncConnection, job_id: str, declared: Mapping[str, str]) -> Explanation:
    """Return why a job stands where it does; ``declared`` as for ``read_coverage``. Raises ``JobNotFoundError``."""
    job = await get_job(connection, job_id)
    if job.finished_at is not None:
        return Explanation(job, [Reason("finished", _ending(job))])
    now = await connection.scalar(select(db_now()))
    assert now is not None
    row = (await connection.execute(select(keys).where(keys.c.key == job.key))).first()
    key = KeyRow(job.key) if row is None else KeyRow(**row._asdict())
    scene = _Scene(job, now, await live_nodes(connection), key, declared)
    if job.state is JobState.RUNNING:
        return Explanation(job, [*_running(scene), *_draining(scene)])
    reasons = [*_unserved(scene), *_paused(scene), *_later(scene)]
    reasons += [*await _group_busy(connection, scene), *await _limit(connection, scene)]
    return Explanation(job, reasons or [await _slots(connection, scene)])


def _ending(job: JobRow) -> str:
    when = instant_text(job.finished_at)
    if job.state is JobState.SUCCEEDED:
        return f"it succeeded at {when}"
    why = f": {job.last_error.splitlines()[0]}" if job.last_error else ""
    if job.state is JobState.DEAD:
        return f"it became a dead letter at {when}{why}; nocohost jobs retry {job.id} runs it again"
    return f"it was cancelled at {when}{why}; nocohost jobs retry {job.id} runs it again"


def _running(scene: _Scene) -> Iterator[Reason]:
    job = scene.job
    since = instant_text(job.started_at)
    if not job.orphan:
        asked = "; it was asked to cancel, and its handler has not ended yet" if job.cancel_requested else ""
        yield Reason("running", f"attempt {job.attempts + 1} has run since {since} on node {job.node_id}{asked}")
        return
    yield Reason(
        "running",
        f"it is an orphan: its node {job.node_id}, which took it at {since}, is gone; a node that serves {job.key}"
        " frees it within seconds",
    )
    yield from _unserved(scene)


def _draining(scene: _Scene) -> Iterator[Reason]:
    if scene.key.drain_until is not None and not scene.job.orphan:
        until = instant_text(scene.key.drain_until)
        yield Reason("paused", f"{scene.job.key} drains: what still runs of it at {until} is released, uncharged")


def _unserved(scene: _Scene) -> Iterator[Reason]:
    key = scene.job.key
    if scene.servers:
        return
    silent = [node for node in scene.nodes if key in node.services]
    here = scene.declared.get(key, "")
    quarantined = [node for node in scene.nodes if has_quarantined(node, key, scene.declared)]
    without = [node for node in scene.nodes if here and here not in node.plugins and asks_for(node, key)]
    if silent:
        words = f"the nodes that serve {key} claim nothing now: {_named(silent, with_state=True)}"
        yield Reason("unserved", f"{words}; nocohost nodes resume NODE, or start another")
    elif quarantined:
        words = f"{_named(quarantined)} should serve {key} and has it quarantined"
        yield Reason("unserved", f"{words}; its log and nocohost plugins list say why")
    elif scene.key.last_served_at is not None:
        last = instant_text(scene.key.last_served_at)
        yield Reason("unserved", f"no live node has served {key} since {last}; start one whose WORKER_MODE covers it")
    else:
        yield Reason("unserved", f"no node has ever served {key}; start one whose WORKER_MODE covers it")
    if without:
        words = f"the mode of {_named(without)} covers {key}, and the image there is without {here}"
        yield Reason("version", f"{words}; roll that image out to it")


def _paused(scene: _Scene) -> Iterator[Reason]:
    if scene.key.paused_at is not None:
        since = instant_text(scene.key.paused_at)
        key = scene.job.key
        yield Reason(
            "paused",
            f"{key} has been paused since {since}, by {scene.key.paused_by}; nocohost queue resume {key} goes on",
        )


def _later(scene: _Scene) -> Iterator[Reason]:
    job = scene.job
    if job.run_at <= scene.now:
        return
    when = instant_text(job.run_at)
    failures = job.attempts + job.crashes
    if failures and job.last_error:
        why = job.last_error.splitlines()[0]
        yield Reason("backing_off", f"attempt {failures} failed: {why}; the next one comes at {when}")
    else:
        yield Reason("not_due", f"it is not to run before {when}")


async def _group_busy(connection: AsyncConnection, scene: _Scene) -> list[Reason]:
    job = scene.job
    if job.group is None:
        return []
    before = or_(
        jobs.c.state == RUNNING,
        jobs.c.enqueued_at < job.enqueued_at,
        and_(jobs.c.enqueued_at == job.enqueued_at, jobs.c.id < job.id),
    )
    mine = and_(jobs.c.key == job.key, jobs.c.group == job.group, jobs.c.id != job.id)
    query = select(jobs.c.id, jobs.c.state).where(mine, before).order_by(jobs.c.enqueued_at, jobs.c.id).limit(1)
    first = (await connection.execute(query)).first()
    if first is None:
        return []
    words = (
        f"jobs of group {job.group} run one at a time, in order: job {first.id}, which is {first.state}, is before it"
    )
    return [Reason("group_busy", f"{words}; nocohost jobs explain {first.id}")]


async def _limit(connection: AsyncConnection, scene: _Scene) -> list[Reason]:
    job = scene.job
    row = (await connection.execute(select(limits).where(limits.c.key == job.key))).first()
    if row is None:
        return []
    reasons = []
    if row.concurrency is not None and (running := await count_running(connection, job.key)) >= row.concurrency:
        words = f"{running} jobs of {job.key} run in the cluster, which is its limit (cluster_concurrency)"
        reasons.append(Reason("limit", f"{words}; it is claimed when one of them ends"))
    if LimitRow(**row._asdict(), now=scene.now).tokens < 1:
        words = f"the rate of {job.key}, {row.rate_count} jobs in {row.rate_seconds:g} s, is used up for now"
        reasons.append(Reason("limit", f"{words}; it is claimed as time goes on"))
    return reasons


async def _slots(connection: AsyncConnection, scene: _Scene) -> Reason:
    """Say that nothing but a free slot is missing: the last reason there is."""
    job = scene.job
    running = await count_running(connection, job.key)
    is_due = and_(jobs.c.key == job.key, jobs.c.state == "pending", jobs.c.run_at <= scene.now)
    ahead = or_(
        jobs.c.priority < job.priority,
        and_(jobs.c.priority == job.priority, jobs.c.run_at < job.run_at),
        and_(jobs.c.priority == job.priority, jobs.c.run_at == job.run_at, jobs.c.id < job.id),
    )
    before = await connection.scalar(select(func.count()).where(is_due, ahead)) or 0
    words = (
        f"it waits for a free slot of {_named(scene.servers)}: {running} jobs of {job.key} run, {before} are before it"
    )
    more = "more nodes, or a higher concurrency of the service, would take it sooner"
    return Reason("limit", f"{words}{_apart(job)}; {more}")


def _apart(job: JobRow) -> str:
    """Say that a job needs a place in a child, unless all jobs of its service have one anyway."""
    if job.losses < 2 and not job.crashes:
        return ""
    told = f"it was lost with {job.losses} nodes" if job.losses > 1 else "a child has died of it"
    return f"; {told}, so it runs in a child, of which a node has few at a time"


def _named(some: Sequence[NodeRow], *, with_state: bool = False) -> str:
    if len(some) > NAMED:
        return f"{len(some)} nodes"
    return ", ".join(f"{node.name} ({node.state})" if with_state else node.name for node in some)
