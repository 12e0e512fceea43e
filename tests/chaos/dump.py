"""The database as it is at the end, read by plain SQL past nocohost."""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from records import Dump, Line
from sqlalchemy import Engine, create_engine, text

INSTANTS = ("run_at", "enqueued_at", "started_at", "finished_at", "beat_at", "lease_until", "tick_at", "fired_at")
JSON_COLUMNS = ("payload", "value", "progress", "services", "plugins")
OUR_JOBS = "key LIKE 'chaos:%'"
OUR_TICKS = "schedule LIKE 'chaos%'"
"""What plugins that are installed beside enqueue and fire is recorded by nobody, and not judged."""
IDS = ("id", "node_id", "claim_id", "job_id")


def open_engine(url: str) -> Engine:
    """Return an engine on the database of a run."""
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))


def read_dump(engine: Engine) -> Dump:
    """Read everything in one snapshot."""
    level = "REPEATABLE READ" if engine.dialect.name == "postgresql" else "SERIALIZABLE"
    with engine.execution_options(isolation_level=level).connect() as connection:

        def rows(table: str, order: str = "id", which: str = "TRUE") -> list[Line]:
            query = text(f"SELECT * FROM {table} WHERE {which} ORDER BY {order}")
            return [tidy(row) for row in connection.execute(query).mappings()]

        return Dump(
            at=time.time(),
            ticks=rows("nocohost_ticks", "tick_at", OUR_TICKS),
            jobs=rows("nocohost_jobs", which=OUR_JOBS),
            history=rows("nocohost_history", which=OUR_JOBS),
            nodes=rows("nocohost_nodes"),
            orders=[
                row["op"] for row in connection.execute(text("SELECT op FROM chaos_orders ORDER BY op")).mappings()
            ],
            effects=[
                dict(row) for row in connection.execute(text("SELECT * FROM chaos_effects ORDER BY id")).mappings()
            ],
        )


def count_unfinished(engine: Engine) -> int:
    """Return how many jobs are not over; those of the schedule come and go."""
    with engine.connect() as connection:
        query = text(f"SELECT count(*) FROM nocohost_jobs WHERE {OUR_JOBS} AND key <> 'chaos:tick'")
        return int(connection.scalar(query) or 0)


def tidy(row: Mapping[Any, Any]) -> Line:
    """Return a row the same way for both databases."""
    tidied = dict(row)
    for name in IDS:
        if tidied.get(name) is not None:
            tidied[name] = str(uuid.UUID(str(tidied[name])))
    for name in JSON_COLUMNS:
        if isinstance(tidied.get(name), str):
            tidied[name] = json.loads(tidied[name])
    for name in INSTANTS:
        if isinstance(tidied.get(name), int):
            tidied[name] = tidied[name] / 1e6
        elif isinstance(tidied.get(name), datetime):
            tidied[name] = tidied[name].astimezone(UTC).timestamp()
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in tidied.items()}
