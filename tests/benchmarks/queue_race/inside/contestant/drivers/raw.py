"""The yardstick: tables like nocohost's, plain psycopg, and nothing of what makes a queue safe to use.

A process claims a batch in one transaction, runs its jobs, and moves them to the history in another; it has no lease,
no beat, no limits. Also a program: ``python -m contestant.drivers.raw`` serves until it is killed.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg

from contestant import records

BATCH = int(os.environ["RACE_BATCH"])
IDLE_SECONDS = 0.02
SHARED = """id uuid PRIMARY KEY, key text NOT NULL, state text NOT NULL, payload json NOT NULL, priority int NOT NULL,
    run_at timestamptz NOT NULL, enqueued_at timestamptz NOT NULL, started_at timestamptz, attempts int NOT NULL,
    fence bigint NOT NULL, node_id uuid"""
TABLES = f"""
CREATE TABLE raw_jobs ({SHARED}, claim_id uuid);
CREATE INDEX ON raw_jobs (key, priority, run_at, id) WHERE state = 'pending';
CREATE INDEX ON raw_jobs (node_id) WHERE state = 'running';
CREATE TABLE raw_history ({SHARED}, finished_at timestamptz NOT NULL);
CREATE INDEX ON raw_history (finished_at) WHERE state <> 'dead';
CREATE INDEX ON raw_history (key, state, finished_at)
"""
INSERT = """
INSERT INTO raw_jobs (id, key, state, payload, priority, run_at, enqueued_at, attempts, fence)
SELECT id, 'race:run', 'pending', payload, 0, statement_timestamp(), statement_timestamp(), 0, 0
FROM unnest(%s::uuid[], %s::json[]) AS new (id, payload)
"""
CLAIM = """
UPDATE raw_jobs SET state = 'running', claim_id = %s, node_id = %s, started_at = statement_timestamp(),
    fence = fence + 1
WHERE id IN (
    SELECT id FROM raw_jobs WHERE state = 'pending' AND key = 'race:run' AND run_at <= statement_timestamp()
    ORDER BY priority, run_at, id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING id, payload
"""
FINISH = """
WITH gone AS (DELETE FROM raw_jobs WHERE id = ANY (%s) AND state = 'running' AND claim_id = %s RETURNING *)
INSERT INTO raw_history (id, key, state, payload, priority, run_at, enqueued_at, started_at, attempts, fence, node_id,
    finished_at)
SELECT id, key, 'succeeded', payload, priority, run_at, enqueued_at, started_at, attempts, fence, node_id,
    statement_timestamp() FROM gone
"""


class Driver:
    """See ``contestant.driver``."""

    concurrent = False
    bulk = 1000

    def __init__(self) -> None:
        self.settings = {"batch": BATCH, "driver": "psycopg, blocking, prepared statements"}

    async def prepare(self) -> None:
        """Make the tables."""
        with _connect() as connection:
            connection.execute(TABLES)

    async def open(self) -> None:
        """Connect."""
        self._connection = _connect()

    async def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Insert one row."""
        await self.enqueue_many([job])

    async def enqueue_many(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Insert many rows in one statement."""
        self._connection.execute(INSERT, ([_id() for _ in jobs], [json.dumps(job) for job in jobs]))

    async def unfinished(self) -> int:
        """Tell whether any row is left."""
        row = self._connection.execute("SELECT EXISTS (SELECT 1 FROM raw_jobs)").fetchone()
        return int(row[0])  # type: ignore[index]

    def commands(self, processes: int) -> list[list[str]]:
        """Return one loop for each process."""
        return [[sys.executable, "-m", "contestant.drivers.raw"] for _ in range(processes)]


def serve() -> None:
    """Claim, run and finish batches until killed."""
    node = uuid.uuid4()
    with _connect() as connection:
        while True:
            claim = uuid.uuid4()
            jobs = connection.execute(CLAIM, (claim, node, BATCH)).fetchall()
            if not jobs:
                time.sleep(IDLE_SECONDS)
                continue
            for _, payload in jobs:
                records.run_blocking(payload)
            connection.execute(FINISH, ([job_id for job_id, _ in jobs], claim))


def _connect() -> psycopg.Connection:
    return psycopg.connect(os.environ["RACE_URL"], autocommit=True)


def _id() -> uuid.UUID:
    """Return an id that sorts by time, as nocohost's do."""
    return uuid.UUID(int=(time.time_ns() // 1_000_000 << 80) | uuid.uuid4().int & (1 << 80) - 1)


if __name__ == "__main__":
    serve()
