"""The hot statements on PostgreSQL: one statement each, with arrays for what differs from job to job."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

from pydantic_core import from_json, to_json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from nocohost.api.errors import StoreUnavailableError
from nocohost.store.hot.values import ClaimedJob, NewJob, Settlement, Want
from nocohost.store.translate import translated

# What differs from row to row goes as one text for each column, split by the server: psycopg quotes each element of an
# array, which would cost a job more than everything else that is done for it here.
INSERT: LiteralString = """
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group", idempotency_key)
SELECT id, key, 'pending', payload, priority, greatest(run_at, clock_timestamp()), clock_timestamp(), "group",
       idempotency_key
FROM ROWS FROM (unnest(string_to_array(%(ids)s, ',')::uuid[]), unnest(string_to_array(%(keys)s, ',')),
                json_array_elements(%(payloads)s::json), unnest(string_to_array(%(priorities)s, ',')::int[]),
                unnest(string_to_array(%(run_at)s, ',', '')::timestamptz[]), json_array_elements_text(%(groups)s::json),
                json_array_elements_text(%(idempotency_keys)s::json))
  AS new(id, key, payload, priority, run_at, "group", idempotency_key)
RETURNING id::text, enqueued_at
"""
INSERT_ONE: LiteralString = """
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group", idempotency_key)
VALUES (%s, %s, 'pending', %s, %s, greatest(%s::timestamptz, clock_timestamp()), clock_timestamp(), %s, %s)
RETURNING enqueued_at
"""
# Materialized, because a plan must neither lock rows twice nor those of a key that this node may not take. The ids go
# on as an array, for which the planner expects few elements: joined, an unknown number makes it read the whole table.
CLAIM: LiteralString = """
WITH RECURSIVE wanted AS MATERIALIZED (
  SELECT w.* FROM unnest(%(keys)s::text[], %(slots)s::int[], %(floors)s::int[]) AS w(key, slots, floor)
  WHERE EXISTS (SELECT FROM nocohost_nodes WHERE id = %(node)s::uuid AND state = 'serving'
                AND lease_until > clock_timestamp())
    AND NOT EXISTS (SELECT FROM nocohost_keys AS k WHERE k.key = w.key AND k.paused_at IS NOT NULL)
), names AS (
  SELECT w.key, (SELECT min(j."group") FROM nocohost_jobs AS j WHERE j.key = w.key AND j."group" IS NOT NULL) AS name
  FROM wanted AS w
  UNION ALL
  SELECT n.key, (SELECT min(j."group") FROM nocohost_jobs AS j WHERE j.key = n.key AND j."group" > n.name)
  FROM names AS n WHERE n.name IS NOT NULL
), plain AS MATERIALIZED (
  SELECT w.key, w.slots, due.* FROM wanted AS w CROSS JOIN LATERAL (
    SELECT j.id, j.priority, j.run_at FROM nocohost_jobs AS j
    WHERE j.key = w.key AND j.state = 'pending' AND j."group" IS NULL AND j.priority >= w.floor
      AND j.run_at <= (SELECT clock_timestamp())
    ORDER BY j.priority, j.run_at, j.id LIMIT w.slots FOR UPDATE SKIP LOCKED
  ) AS due
), heads AS MATERIALIZED (
  SELECT w.key, w.slots, j.id, j.priority, j.run_at
  FROM names AS n JOIN wanted AS w ON w.key = n.key CROSS JOIN LATERAL (
    SELECT h.id, h.priority, h.run_at, h.state FROM nocohost_jobs AS h
    WHERE h.key = n.key AND h."group" = n.name ORDER BY h.enqueued_at, h.id LIMIT 1
  ) AS first JOIN nocohost_jobs AS j ON j.id = first.id
  WHERE n.name IS NOT NULL AND first.state = 'pending' AND j.state = 'pending' AND j.priority >= w.floor
    AND j.run_at <= (SELECT clock_timestamp())
    AND NOT EXISTS (SELECT FROM nocohost_jobs AS r WHERE r.key = n.key AND r."group" = n.name AND r.state = 'running')
  FOR UPDATE OF j SKIP LOCKED
), chosen AS (
  SELECT id, slots, row_number() OVER (PARTITION BY key ORDER BY priority, run_at, id) AS place
  FROM (SELECT * FROM plain UNION ALL SELECT * FROM heads) AS due
)
UPDATE nocohost_jobs
SET state = 'running', claim_id = %(claim)s::uuid, node_id = %(node)s::uuid, fence = fence + 1,
    started_at = clock_timestamp(), progress = NULL
WHERE id = ANY(ARRAY(SELECT id FROM chosen WHERE place <= slots))
RETURNING id::text, key, payload::text, priority, "group", extract(epoch FROM run_at)::float8,
          extract(epoch FROM clock_timestamp() - run_at)::float8, enqueued_at, attempts, losses, crashes, fence
"""
OLDEST_LEVELS: LiteralString = """
WITH RECURSIVE levels AS (
  SELECT w.key, (SELECT min(j.priority) FROM nocohost_jobs AS j
                 WHERE j.key = w.key AND j.state = 'pending' AND j."group" IS NULL) AS priority
  FROM unnest(%(keys)s::text[]) AS w(key)
  UNION ALL
  SELECT l.key, (SELECT min(j.priority) FROM nocohost_jobs AS j WHERE j.key = l.key AND j.state = 'pending'
                 AND j."group" IS NULL AND j.priority > l.priority)
  FROM levels AS l WHERE l.priority IS NOT NULL
)
SELECT DISTINCT ON (l.key) l.key, l.priority FROM levels AS l CROSS JOIN LATERAL (
  SELECT min(j.run_at) AS since FROM nocohost_jobs AS j
  WHERE j.key = l.key AND j.state = 'pending' AND j."group" IS NULL AND j.priority = l.priority
) AS first
WHERE l.priority IS NOT NULL AND first.since <= clock_timestamp() ORDER BY l.key, first.since
"""
END: LiteralString = """
WITH done AS (
  SELECT * FROM ROWS FROM (
    unnest(string_to_array(%(ids)s, ',')::uuid[]), unnest(string_to_array(%(claims)s, ',')::uuid[]),
    unnest(string_to_array(%(states)s, ',')), json_array_elements(%(values)s::json),
    json_array_elements_text(%(errors)s::json), unnest(string_to_array(%(charges)s, ',')::int[]),
    unnest(string_to_array(%(crashes)s, ',')::int[])
  ) AS d(id, claim_id, ended, outcome, error, charge, crash)
), gone AS (
  DELETE FROM nocohost_jobs AS j USING done AS d
  WHERE j.id = d.id AND j.claim_id = d.claim_id AND j.state = 'running'
  RETURNING j.*, d.ended, d.outcome, d.error, d.charge, d.crash
), expired AS (
  UPDATE nocohost_idempotency AS i SET expires_at = clock_timestamp() + i.unique_seconds * interval '1 second'
  FROM gone WHERE gone.idempotency_key IS NOT NULL AND i.key = gone.key
    AND i.idempotency_key = gone.idempotency_key AND i.job_id = gone.id
)
INSERT INTO nocohost_history (id, key, state, payload, priority, "group", run_at, enqueued_at, started_at, finished_at,
  attempts, losses, crashes, fence, node_id, idempotency_key, progress, value, last_error)
SELECT id, key, ended, payload, priority, "group", run_at, enqueued_at, started_at, clock_timestamp(),
  attempts + charge, losses, crashes + crash, fence, node_id, idempotency_key, progress,
  CASE WHEN outcome::text <> 'null' THEN outcome END,
  coalesce(error, last_error)
FROM gone RETURNING id::text
"""
GIVE_BACK: LiteralString = """
UPDATE nocohost_jobs AS j
SET state = 'pending', claim_id = NULL, attempts = j.attempts + d.charge, crashes = j.crashes + d.crash,
    last_error = coalesce(d.error, j.last_error),
    run_at = CASE WHEN d.delay > 0 THEN clock_timestamp() + d.delay * interval '1 second' ELSE j.run_at END
FROM ROWS FROM (unnest(string_to_array(%(ids)s, ',')::uuid[]), unnest(string_to_array(%(claims)s, ',')::uuid[]),
                json_array_elements_text(%(errors)s::json), unnest(string_to_array(%(charges)s, ',')::int[]),
                unnest(string_to_array(%(crashes)s, ',')::int[]), unnest(string_to_array(%(delays)s, ',')::float8[]))
  AS d(id, claim_id, error, charge, crash, delay)
WHERE j.id = d.id AND j.claim_id = d.claim_id AND j.state = 'running' AND NOT j.cancel_requested
RETURNING j.id::text
"""


class DriverConnection:
    """One psycopg connection, kept open and used by one call at a time; after an error another is opened."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._engine = engine
        self._what = what
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    async def fetch(self, sql: LiteralString, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute one statement, which is a transaction of its own, and return its rows. Raises ``StoreError``."""
        async with self._turn:
            sent = whole = False
            try:
                with translated(self._what):
                    if self._connection is None:
                        await self._open()
                    sent = True
                    rows = await self._execute(sql, parameters)
                whole = True
                return rows
            except StoreUnavailableError as error:
                error.unsure = sent
                raise
            finally:
                if not whole:
                    await self._drop()

    async def _execute(self, sql: LiteralString, parameters: Any) -> list[tuple[Any, ...]]:
        dbapi = self._engine.dialect.loaded_dbapi
        try:
            cursor = await self._driver.execute(sql, parameters, binary=True)
            return await cursor.fetchall()  # type: ignore[no-any-return]
        except dbapi.Error as error:
            lost = bool(self._driver.closed or self._driver.broken)
            raise DBAPIError.instance(
                None, None, error, dbapi.Error, connection_invalidated=lost, dialect=self._engine.dialect
            ) from error

    async def close(self) -> None:
        """Give the connection back to the pool."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def _open(self) -> None:
        connection = await self._engine.connect()
        self._driver = (await connection.get_raw_connection()).driver_connection
        self._connection = connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()


class PostgresqlHotStore:
    """``HotStore`` on PostgreSQL: one connection each for inserts, claims and settlements, so that none waits."""

    def __init__(self, engine: AsyncEngine, what: str) -> None:
        self._inserts = DriverConnection(engine, what)
        self._claims = DriverConnection(engine, what)
        self._settlements = DriverConnection(engine, what)

    async def insert(self, news: Sequence[NewJob]) -> Sequence[datetime]:
        """See ``HotStore.insert``."""
        if len(news) == 1:
            new = news[0]
            values = (new.id, new.key, new.payload, new.priority, new.run_at, new.group, new.idempotency_key)
            ((enqueued_at,),) = await self._inserts.fetch(INSERT_ONE, values)
            return [enqueued_at.astimezone(UTC)]
        rows: list[Any] = await self._inserts.fetch(INSERT, insertion(news))
        instants = dict(rows)
        return [instants[new.id].astimezone(UTC) for new in news]

    async def claim(self, node_id: str, claim_id: str, wants: Sequence[Want]) -> list[ClaimedJob]:
        """See ``HotStore.claim``."""
        rows = await self._claims.fetch(CLAIM, wanted(node_id, claim_id, wants))
        jobs = claimed(rows, claim_id)
        jobs.sort(key=lambda job: (job.priority, job.due, job.id))
        return jobs

    async def oldest_levels(self, keys: Collection[str]) -> dict[str, int]:
        """See ``HotStore.oldest_levels``."""
        rows: list[Any] = await self._claims.fetch(OLDEST_LEVELS, {"keys": list(keys)})
        return dict(rows)

    async def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """See ``HotStore.settle``. Endings and jobs that go back are a transaction each."""
        endings = [one for one in settlements if one.state != "pending"]
        backs = [one for one in settlements if one.state == "pending"]
        written: set[str] = set()
        if endings:
            written.update(await self._end(endings))
        if backs:
            rows = await self._settlements.fetch(GIVE_BACK, _columns(backs))
            written.update(row[0] for row in rows)
            rest = [one._replace(state="cancelled") for one in backs if one.job_id not in written]
            if rest:
                written.update(await self._end(rest))
        return written

    async def close(self) -> None:
        """See ``HotStore.close``."""
        for connection in (self._inserts, self._claims, self._settlements):
            await connection.close()

    async def _end(self, endings: Sequence[Settlement]) -> set[str]:
        return {row[0] for row in await self._settlements.fetch(END, _columns(endings))}


def wanted(node_id: str, claim_id: str, wants: Sequence[Want]) -> Mapping[str, Any]:
    """Return the parameters of ``CLAIM``."""
    keys, slots, floors = zip(*wants, strict=True)
    return {"node": node_id, "claim": claim_id, "keys": list(keys), "slots": list(slots), "floors": list(floors)}


def claimed(rows: Iterable[Any], claim_id: str) -> list[ClaimedJob]:
    """Return what ``CLAIM`` gave."""
    return [ClaimedJob._make((*row[:2], from_json(row[2]), *row[3:], claim_id)) for row in rows]


def insertion(news: Sequence[NewJob]) -> Mapping[str, str]:
    """Return the parameters of ``INSERT``."""
    ids, keys, payloads, priorities, instants, groups, idempotency_keys, _, _ = zip(*news, strict=True)
    return {
        "ids": ",".join(ids),
        "keys": ",".join(keys),
        "payloads": f"[{','.join(payloads)}]",
        "priorities": ",".join(map(str, priorities)),
        "run_at": ",".join("" if instant is None else instant.isoformat() for instant in instants),
        "groups": _texts(groups),
        "idempotency_keys": _texts(idempotency_keys),
    }


def _columns(settlements: Sequence[Settlement]) -> Mapping[str, str]:
    ids, claims, states, values, errors, charges, crashes, delays = zip(*settlements, strict=True)
    return {
        "ids": ",".join(ids),
        "claims": ",".join(claims),
        "states": ",".join(states),
        "values": f"[{','.join(value or 'null' for value in values)}]",
        "errors": _texts(errors),
        "charges": ",".join("1" if charge else "0" for charge in charges),
        "crashes": ",".join("1" if crash else "0" for crash in crashes),
        "delays": ",".join(map(str, delays)),
    }


def _texts(texts: Sequence[str | None]) -> str:
    return to_json(texts).decode()
