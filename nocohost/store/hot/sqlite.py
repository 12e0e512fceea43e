"""The hot statements on SQLite: whole transactions in one thread with a connection of its own."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nocohost.store.hot.values import ANY_PLACES, ClaimedJob, NewJob, OldestLevel, Settlement, Want
from nocohost.store.translate import translated
from nocohost.store.types import EPOCH, MICROSECOND, read_json
from nocohost.store.writer import WriterTurn

if TYPE_CHECKING:
    import sqlite3

ResultT = TypeVar("ResultT")

INSERT = """
INSERT INTO nocohost_jobs (id, key, state, payload, priority, run_at, enqueued_at, "group", idempotency_key)
VALUES (?, ?, 'pending', ?, ?, max(ifnull(?, 0), nocohost_now()), ?, ?, ?)
"""
# The indexes are named: once somebody has run ANALYZE, the whole table would be read for a key without groups.
ANY_DUE = """
SELECT EXISTS (SELECT 1 FROM nocohost_jobs
               WHERE key = :key AND state = 'pending' AND "group" IS NULL AND run_at <= nocohost_now()
                 AND (:isolated OR losses < 2 AND crashes = 0))
    OR EXISTS (SELECT 1 FROM nocohost_jobs INDEXED BY nocohost_jobs_group
               WHERE key = :key AND "group" IS NOT NULL AND state = 'pending' AND run_at <= nocohost_now()
                 AND (:isolated OR losses < 2 AND crashes = 0))
    OR :places > 0 AND EXISTS (
      SELECT 1 FROM nocohost_jobs INDEXED BY nocohost_jobs_apart
      WHERE key = :key AND state = 'pending' AND (losses > 1 OR crashes > 0) AND run_at <= nocohost_now())
"""
# Jobs that must run apart; of a group only the first. Most often their index is empty.
APART = """
SELECT j.priority, j.run_at, j.id FROM nocohost_jobs AS j INDEXED BY nocohost_jobs_apart
WHERE j.key = :key AND j.state = 'pending' AND (j.losses > 1 OR j.crashes > 0) AND j.run_at <= :now
  AND (j."group" IS NULL OR NOT EXISTS (
    SELECT 1 FROM nocohost_jobs AS r WHERE r.key = j.key AND r."group" = j."group" AND r.state = 'running'
  ) AND NOT EXISTS (
    SELECT 1 FROM nocohost_jobs AS e
    WHERE e.key = j.key AND e."group" = j."group" AND (e.enqueued_at, e.id) < (j.enqueued_at, j.id)))
ORDER BY j.priority, j.run_at, j.id LIMIT min(:places, :slots)
"""
MAY_CLAIM = """
SELECT EXISTS (SELECT 1 FROM nocohost_nodes WHERE id = ? AND state = 'serving' AND lease_until > nocohost_now())
"""
# The heads are looked up, not joined: once somebody has run ANALYZE, a join reads the whole table for a Bloom filter.
CLAIM = """
WITH RECURSIVE names(name) AS (
  SELECT min("group") FROM nocohost_jobs WHERE key = :key AND "group" IS NOT NULL
  UNION ALL
  SELECT (SELECT min("group") FROM nocohost_jobs WHERE key = :key AND "group" > name) FROM names WHERE name IS NOT NULL
), heads(id) AS (
  SELECT (SELECT id FROM nocohost_jobs WHERE key = :key AND "group" = name ORDER BY enqueued_at, id LIMIT 1)
  FROM names WHERE name IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM nocohost_jobs AS r WHERE r.key = :key AND r."group" = name AND r.state = 'running')
), plain AS (
  SELECT id, priority, run_at FROM nocohost_jobs
  WHERE key = :key AND state = 'pending' AND "group" IS NULL AND priority >= :floor AND run_at <= :now
    AND (:isolated OR losses < 2 AND crashes = 0)
  ORDER BY priority, run_at, id LIMIT :slots
)
UPDATE nocohost_jobs
SET state = 'running', claim_id = :claim, node_id = :node, fence = fence + 1, started_at = :now, progress = NULL
WHERE NOT EXISTS (SELECT 1 FROM nocohost_keys WHERE key = :key AND paused_at IS NOT NULL) AND id IN (
  SELECT id FROM (
    SELECT * FROM plain
    UNION ALL
    SELECT j.id, j.priority, j.run_at FROM nocohost_jobs AS j
    WHERE j.id IN (SELECT id FROM heads) AND j.state = 'pending' AND j.priority >= :floor AND j.run_at <= :now
      AND (:isolated OR j.losses < 2 AND j.crashes = 0)
    UNION ALL
    SELECT j.id, j.priority, j.run_at FROM nocohost_jobs AS j
    WHERE j.id IN (SELECT value FROM json_each(:apart)) AND j.key = :key
  ) ORDER BY priority, run_at, id LIMIT :slots)
RETURNING id, key, payload, priority, "group", run_at, enqueued_at, attempts, losses, crashes, fence
"""
OLDEST_LEVEL = """
WITH RECURSIVE levels(priority) AS (
  SELECT min(priority) FROM nocohost_jobs
  WHERE key = :key AND state = 'pending' AND "group" IS NULL AND priority >= :floor
  UNION ALL
  SELECT (SELECT min(priority) FROM nocohost_jobs
          WHERE key = :key AND state = 'pending' AND "group" IS NULL AND priority > levels.priority)
  FROM levels WHERE priority IS NOT NULL LIMIT 100
), names(name) AS (
  SELECT min("group") FROM nocohost_jobs WHERE key = :key AND "group" IS NOT NULL
  UNION ALL
  SELECT (SELECT min("group") FROM nocohost_jobs WHERE key = :key AND "group" > name) FROM names WHERE name IS NOT NULL
), heads(id) AS (
  SELECT (SELECT id FROM nocohost_jobs WHERE key = :key AND "group" = name ORDER BY enqueued_at, id LIMIT 1)
  FROM names WHERE name IS NOT NULL
), waiting(priority, since) AS (
  SELECT priority, (SELECT min(j.run_at) FROM nocohost_jobs AS j WHERE j.key = :key AND j.state = 'pending'
                    AND j."group" IS NULL AND j.priority = levels.priority
                      AND (:isolated OR j.losses < 2 AND j.crashes = 0))
  FROM levels WHERE priority IS NOT NULL
  UNION ALL
  SELECT priority, run_at FROM nocohost_jobs
  WHERE id IN (SELECT id FROM heads) AND state = 'pending' AND (:isolated OR losses < 2 AND crashes = 0)
)
SELECT (SELECT priority FROM waiting WHERE since <= nocohost_now() ORDER BY since LIMIT 1),
       (SELECT max(priority) FROM levels HAVING count(priority) = 100)
"""
HELD = """
SELECT j.id, j.cancel_requested FROM json_each(?) AS one JOIN nocohost_jobs AS j
ON j.id = json_extract(one.value, '$[0]') AND j.claim_id = json_extract(one.value, '$[1]') WHERE j.state = 'running'
"""
END = """
INSERT INTO nocohost_history (id, key, state, payload, priority, "group", run_at, enqueued_at, started_at, finished_at,
  attempts, losses, crashes, fence, node_id, idempotency_key, progress, value, last_error)
SELECT id, key, ?, payload, priority, "group", run_at, enqueued_at, started_at, nocohost_now(), attempts + ?, losses,
  crashes + ?, fence, node_id, idempotency_key, progress, ?, ifnull(?, last_error)
FROM nocohost_jobs WHERE id = ?
"""
EXPIRE = """
UPDATE nocohost_idempotency SET expires_at = nocohost_now() + CAST(unique_seconds * 1000000 AS INTEGER)
WHERE (key, idempotency_key, job_id) = (SELECT key, idempotency_key, id FROM nocohost_jobs WHERE id = ?)
"""
DELETE = "DELETE FROM nocohost_jobs WHERE id = ?"
GIVE_BACK = """
UPDATE nocohost_jobs SET state = 'pending', claim_id = NULL, attempts = attempts + ?, crashes = crashes + ?,
  last_error = ifnull(?, last_error),
  run_at = CASE WHEN ? > 0 THEN nocohost_now() + ? ELSE run_at END
WHERE id = ?
"""


class SqliteHotStore:
    """``HotStore`` on SQLite. Writes take the process's turn to write, like every other transaction."""

    def __init__(self, open_engine: Callable[[], Engine], turn: WriterTurn, what: str) -> None:
        self._open_engine = open_engine
        self._turn = turn
        self._what = what
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hot statements")
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    async def insert(self, news: Sequence[NewJob]) -> Sequence[datetime]:
        """See ``HotStore.insert``."""
        return await self._write(lambda driver: _insert(driver, news))

    async def claim(
        self, node_id: str, claim_id: str, wants: Sequence[Want], places: int = ANY_PLACES
    ) -> list[ClaimedJob]:
        """See ``HotStore.claim``."""

        def look(driver: "sqlite3.Connection") -> list[Want]:
            return [want for want in wants if _first(driver, ANY_DUE, {**want._asdict(), "places": places})]

        # Reading first: an idle node must not take the one lock that every writer needs.
        due = await self._run(look)
        if not due:
            return []
        node = hexed(node_id)
        jobs = await self._write(lambda driver: take(driver.execute, node, claim_id, due, places))
        jobs.sort(key=lambda job: (job.priority, job.due, job.id))
        return jobs

    async def oldest_levels(self, wants: Sequence[Want]) -> dict[str, OldestLevel]:
        """See ``HotStore.oldest_levels``."""

        def read(driver: "sqlite3.Connection") -> dict[str, OldestLevel]:
            found = ((want.key, driver.execute(OLDEST_LEVEL, want._asdict()).fetchone()) for want in wants)
            return {key: OldestLevel(*row) for key, row in found}

        return await self._run(read)

    async def settle(self, settlements: Sequence[Settlement]) -> set[str]:
        """See ``HotStore.settle``."""
        return await self._write(lambda driver: _settle(driver, settlements))

    async def close(self) -> None:
        """See ``HotStore.close``."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)

    async def _write(self, work: "Callable[[sqlite3.Connection], ResultT]") -> ResultT:
        def transaction(driver: "sqlite3.Connection") -> ResultT:
            driver.execute("BEGIN IMMEDIATE")
            result = work(driver)
            driver.execute("COMMIT")
            return result

        await self._turn.take()
        try:
            return await self._run(transaction)
        finally:
            self._turn.give_back()

    async def _run(self, work: "Callable[[sqlite3.Connection], ResultT]") -> ResultT:
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._call, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])  # the thread still writes; the turn is not free before it is through
            raise

    def _call(self, work: "Callable[[sqlite3.Connection], ResultT]") -> ResultT:
        import sqlite3  # see nocohost.store.engine

        with translated(self._what):
            if self._connection is None:
                self._engine = self._engine or self._open_engine()
                self._connection = self._engine.connect()
            driver = self._connection.connection.driver_connection
            assert driver is not None
            try:
                return work(driver)
            except sqlite3.Error as error:
                raise DBAPIError.instance(None, None, error, sqlite3.Error) from error
            finally:
                if driver.in_transaction:
                    driver.rollback()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        engine, self._engine = self._engine, None
        with translated(self._what):
            if connection is not None:
                connection.close()
            if engine is not None:
                engine.dispose()


def hexed(text: str) -> str:
    """Return a UUID as SQLite stores it: without dashes."""
    return text.replace("-", "")


def dashed(text: str) -> str:
    """Return a UUID as everybody else sees it."""
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def take(
    execute: Callable[[str, Any], Any], node: str, claim_id: str, wants: Sequence[Want], places: int
) -> list[ClaimedJob]:
    """Claim inside a write transaction, whatever ``execute`` sends it through; ``node`` is hexed."""
    if not execute(MAY_CLAIM, (node,)).fetchone()[0]:
        return []
    now = execute("SELECT nocohost_now()", ()).fetchone()[0]
    apart: list[str] = []
    if places > 0:
        asked = [{**want._asdict(), "now": now, "places": places} for want in wants if not want.isolated]
        apart = [row[2] for row in sorted(tuple(row) for one in asked for row in execute(APART, one))][:places]
    jobs: list[ClaimedJob] = []
    for want in wants:
        jobs += claimed(execute(CLAIM, wanted(node, claim_id, want, now, apart)), claim_id, now)
    return jobs


def wanted(node: str, claim_id: str, want: Want, now: int, apart: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the parameters of ``CLAIM``; ``apart`` are the jobs that may run apart."""
    return {**want._asdict(), "node": node, "claim": hexed(claim_id), "now": now, "apart": json.dumps(apart)}


def claimed(rows: Iterable[Any], claim_id: str, now: int) -> list[ClaimedJob]:
    """Return what ``CLAIM`` gave."""
    return [
        ClaimedJob(
            dashed(job_id),
            key,
            read_json(payload),
            priority,
            group,
            run_at / 1e6,
            (now - run_at) / 1e6,
            EPOCH + timedelta(microseconds=enqueued_at),
            attempts,
            losses,
            crashes,
            fence,
            claim_id,
        )
        for job_id, key, payload, priority, group, run_at, enqueued_at, attempts, losses, crashes, fence in rows
    ]


def insertion(news: Sequence[NewJob], now: datetime) -> list[tuple[Any, ...]]:
    """Return the rows for ``INSERT``; microseconds apart, so that jobs of one group keep their order."""
    instant = (now - EPOCH) // MICROSECOND
    return [
        (
            hexed(new.id),
            new.key,
            new.payload,
            new.priority,
            None if new.run_at is None else (new.run_at - EPOCH) // MICROSECOND,
            instant + place,
            new.group,
            new.idempotency_key,
        )
        for place, new in enumerate(news)
    ]


def _insert(driver: "sqlite3.Connection", news: Sequence[NewJob]) -> Sequence[datetime]:
    now = EPOCH + MICROSECOND * _first(driver, "SELECT nocohost_now()")
    driver.executemany(INSERT, insertion(news, now))
    return [now + MICROSECOND * place for place in range(len(news))]


def _settle(driver: "sqlite3.Connection", settlements: Sequence[Settlement]) -> set[str]:
    pairs = json.dumps([(hexed(one.job_id), hexed(one.claim_id)) for one in settlements])
    held = {dashed(job_id): bool(cancel) for job_id, cancel in driver.execute(HELD, (pairs,))}
    endings, backs = [], []
    for one in settlements:
        if one.job_id not in held:
            continue
        state = "cancelled" if one.state == "pending" and held[one.job_id] else one.state
        counts = (int(one.charge), int(one.crash))
        if state == "pending":
            delay = int(one.delay_seconds * 1e6)
            backs.append((*counts, one.error, delay, delay, hexed(one.job_id)))
        else:
            endings.append((state, *counts, one.value, one.error, hexed(one.job_id)))
    driver.executemany(END, endings)
    ids = [(ending[-1],) for ending in endings]
    driver.executemany(EXPIRE, ids)
    driver.executemany(DELETE, ids)
    driver.executemany(GIVE_BACK, backs)
    return set(held)


def _first(driver: "sqlite3.Connection", sql: str, parameters: Any = ()) -> Any:
    return driver.execute(sql, parameters).fetchone()[0]
