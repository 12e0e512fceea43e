"""Limits that hold in the whole cluster: how many jobs of a key run at a time, and how often they start.

Only keys with a limit have a row, and their claim locks it before it counts: two claims of one key follow each other,
and the second counts what the first has taken. A slot is a running row of the key, so none can leak; a dead node's
are free once the sweep has moved its claims, and never before, because it might yet come back.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.store.claims import PENDING, RUNNING
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.hot import postgresql, sqlite, statements
from nocohost.store.hot.values import ANY_PLACES, ClaimedJob, Want
from nocohost.store.schema import jobs, limits
from nocohost.store.types import db_now
from nocohost.store.upsert import insert_into

FROZEN_MILLISECONDS = 3000
"""A node that stops in the middle of a claim keeps the row locked for so long, then PostgreSQL ends its session."""
OFTEN_SECONDS = 0.1
"""A claim for a key that is out of tokens, or whose row another node has just locked, comes no sooner than this."""


class Limit(NamedTuple):
    """What a service declares for its key; None means no such limit."""

    key: str
    concurrency: int | None
    rate_count: int | None = None
    rate_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LimitRow:
    """The limit of a key at one moment of the database's clock."""

    key: str
    concurrency: int | None
    rate_count: int | None
    rate_seconds: float | None
    available: float | None
    refilled_at: datetime | None
    now: datetime

    @property
    def tokens(self) -> float:
        """Return how many tokens are in the bucket."""
        if self.rate_count is None or self.rate_seconds is None:
            return float("inf")
        if self.available is None or self.refilled_at is None:
            return float(self.rate_count)
        passed = (self.now - self.refilled_at) / timedelta(seconds=1)
        if passed < 0:  # the clock was set back: one job may start, and its claim writes the instant anew
            return max(self.available, 1.0)
        return min(self.available + passed * self.rate_count / self.rate_seconds, float(self.rate_count))

    def free(self, running: int) -> int:
        """Return how many jobs may start while ``running`` run."""
        tokens = int(min(self.tokens, 2**31 - 1))
        return tokens if self.concurrency is None else max(min(tokens, self.concurrency - running), 0)

    def token_seconds(self, tokens: float) -> float | None:
        """Return how long it takes from ``tokens`` to a whole one; None when there is one, or no rate."""
        if self.rate_count is None or self.rate_seconds is None or tokens >= 1:
            return None
        return max((1 - tokens) * self.rate_seconds / self.rate_count, OFTEN_SECONDS)


class LimitedClaim(NamedTuple):
    """What a claim of limited keys took, and what holds the rest back."""

    jobs: list[ClaimedJob]
    held_back: Mapping[str, float | None]
    """Keys with due jobs that their limit held back -> seconds after which more may start by themselves, if known."""
    unlimited: frozenset[str]
    """Keys that have no limit any more."""


async def declare_limits(connection: AsyncConnection, declared: Collection[Limit]) -> None:
    """Write the limits of the keys that a node serves, inside its write transaction; the newest node's word counts.

    A key that is declared without a limit loses its row. A bucket is never refilled by this.
    """
    free = [one.key for one in declared if one.concurrency is None and one.rate_count is None]
    if free:
        await connection.execute(delete(limits).where(limits.c.key.in_(sorted(free))))
    for one in sorted(set(declared)):
        if one.key in free:
            continue
        adding = insert_into(connection, limits).values(
            **one._asdict(), available=one.rate_count, refilled_at=None if one.rate_count is None else db_now()
        )
        new = adding.excluded
        full = or_(limits.c.available.is_(None), limits.c.available > new.available)
        await connection.execute(
            adding.on_conflict_do_update(
                index_elements=[limits.c.key],
                set_={
                    "concurrency": new.concurrency,
                    "rate_count": new.rate_count,
                    "rate_seconds": new.rate_seconds,
                    "available": case((full, new.available), else_=limits.c.available),
                    "refilled_at": case((full, new.refilled_at), else_=limits.c.refilled_at),
                },
                where=or_(*(limits.c[name].is_distinct_from(new[name]) for name in Limit._fields[1:])),
            )
        )


async def limited_keys(connection: AsyncConnection, among: Collection[str]) -> frozenset[str]:
    """Return which of these keys have a limit now."""
    return frozenset(await connection.scalars(select(limits.c.key).where(limits.c.key.in_(sorted(among)))))


async def claim_limited(
    database: SqlDatabase, node_id: str, claim_id: str, wants: Sequence[Want], places: int = ANY_PLACES
) -> LimitedClaim:
    """Claim jobs of keys with a limit: as ``HotStore.claim``, and no more than the limits allow at this moment.

    It looks first and locks nothing unless there is something to take. A row that another node has locked is passed
    over, so that a node which stops in the middle of a claim holds nobody up but that key.
    """
    async with glance(database) as connection:
        rows = await connection.execute(_look(wants, places))
        seen = {row.key: (_limit(row), row.running, row.is_due) for row in rows}
    held_back: dict[str, float | None] = {}
    open_wants = []
    for want in wants:
        limit, running, is_due = seen.get(want.key, (None, 0, False))
        if limit is None or not is_due:
            continue
        if limit.free(running) > 0:
            open_wants.append(want)
        else:
            held_back[want.key] = limit.token_seconds(limit.tokens)
    taken: list[ClaimedJob] = []
    if open_wants:
        async with database.begin() as connection:
            taken = await _claim_locked(connection, node_id, claim_id, open_wants, places, held_back)
    taken.sort(key=lambda job: (job.priority, job.due, job.id))
    return LimitedClaim(taken, held_back, frozenset(want.key for want in wants if want.key not in seen))


async def _claim_locked(
    connection: AsyncConnection,
    node_id: str,
    claim_id: str,
    wants: Sequence[Want],
    places: int,
    held_back: dict[str, float | None],
) -> list[ClaimedJob]:
    """Lock, then count, then claim: the count is a statement of its own, so that it sees what the lock waited for."""
    locked = await _lock(connection, [want.key for want in wants])
    running = await _count_running(connection, locked)
    granted = []
    for want in wants:
        if want.key not in locked:
            held_back[want.key] = OFTEN_SECONDS
            continue
        slots = min(want.slots, locked[want.key].free(running.get(want.key, 0)))
        if slots:
            granted.append(want._replace(slots=slots))
        else:
            held_back[want.key] = locked[want.key].token_seconds(locked[want.key].tokens)
    taken = await _claim(connection, node_id, claim_id, granted, places) if granted else []
    asked = {want.key: want.slots for want in wants}
    for want in granted:
        limit, count = locked[want.key], sum(job.key == want.key for job in taken)
        left = limit.tokens - count
        if count and limit.rate_count is not None:
            # By the clock as it is after the claim, so that no window between two starts is too short.
            spent = update(limits).where(limits.c.key == want.key)
            await connection.execute(spent.values(available=left, refilled_at=db_now()))
        if count == want.slots < asked[want.key]:
            held_back[want.key] = limit.token_seconds(left)
    return taken


async def _lock(connection: AsyncConnection, keys: Collection[str]) -> dict[str, LimitRow]:
    query = _limits_of(keys).order_by(limits.c.key).with_for_update(skip_locked=True)
    if connection.dialect.name == "postgresql":
        brief = func.set_config("idle_in_transaction_session_timeout", str(FROZEN_MILLISECONDS), True)
        query = query.add_columns(brief.label("brief"))
    return {row.key: _limit(row) for row in await connection.execute(query)}


async def _count_running(connection: AsyncConnection, keys: Iterable[str]) -> Mapping[str, int]:
    query = select(jobs.c.key, func.count()).where(jobs.c.state == RUNNING, jobs.c.key.in_(sorted(keys)))
    rows = await connection.execute(query.group_by(jobs.c.key))
    return {row[0]: row[1] for row in rows}


async def _claim(
    connection: AsyncConnection, node_id: str, claim_id: str, wants: Sequence[Want], places: int
) -> list[ClaimedJob]:
    if connection.dialect.name == "postgresql":
        parameters = postgresql.wanted(node_id, claim_id, wants, places)
        rows: Any = await connection.exec_driver_sql(statements.CLAIM, parameters)
        return postgresql.claimed(rows, claim_id)
    node = sqlite.hexed(node_id)
    return await connection.run_sync(lambda sync: sqlite.take(sync.exec_driver_sql, node, claim_id, wants, places))


def _look(wants: Sequence[Want], places: int) -> Select[Any]:
    running = select(func.count()).where(jobs.c.state == RUNNING, jobs.c.key == limits.c.key).correlate(limits)
    now = select(db_now()).scalar_subquery()
    due = [jobs.c.state == PENDING, jobs.c.key == limits.c.key, jobs.c.run_at <= now]
    if places <= 0:
        isolated = sorted(want.key for want in wants if want.isolated)
        due.append(or_(jobs.c.key.in_(isolated), and_(jobs.c.losses < 2, jobs.c.crashes == 0)))
    is_due: ColumnElement[bool] = or_(
        exists().where(*due, jobs.c.group.is_(None)).correlate(limits),
        exists().where(*due, jobs.c.group.is_not(None)).correlate(limits),
    )
    keys = [want.key for want in wants]
    return _limits_of(keys).add_columns(running.scalar_subquery().label("running"), is_due.label("is_due"))


def _limits_of(keys: Collection[str]) -> Select[Any]:
    return select(limits, db_now().label("now")).where(limits.c.key.in_(sorted(keys)))


def _limit(row: Any) -> LimitRow:
    return LimitRow(row.key, row.concurrency, row.rate_count, row.rate_seconds, row.available, row.refilled_at, row.now)
