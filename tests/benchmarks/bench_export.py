"""How fast exports are written: ``python tests/benchmarks/bench_export.py [ROWS]``, beside what they are written with.

CSV on PostgreSQL beside ``COPY TO`` of the same table by psycopg, medians of turns; CSV and JSON Lines on SQLite in
seconds; XLSX beside xlsxwriter in constant memory on the same rows. Everything in one run; the memory of the process
at the end.
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from probes.export_desk import Desk
from sqlalchemy import Boolean, Column, Date, Integer, MetaData, Numeric, Table, Text, text

from nocohost.api.resource import Resource
from nocohost.node.clock import SystemClock
from nocohost.queue.enqueue import JobQueue
from nocohost.store.database import open_database
from nocohost.store.resources.door import SqlResources
from nocohost.store.resources.standing import StandingOrders
from nocohost.store.revisions import core_migrations
from nocohost.store.upgrade import upgrade_under_lock
from nocohost.testing.postgres import PostgresServer, find_binaries

ORDERS = Table(
    "bench_orders",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("buyer", Text, nullable=False),
    Column("city", Text),
    Column("total", Numeric(12, 2)),
    Column("made_on", Date),
    Column("is_paid", Boolean),
)
COPY_TURNS = 5
DECLARED = {"bench.orders": Resource("bench.orders", ORDERS, read="bench.read", write="bench.write")}


def fill(dialect: str, rows: int) -> str:
    """Return the statement that makes the rows."""
    if dialect == "postgresql":
        return (
            "INSERT INTO bench_orders SELECT n, 'buyer ' || n % 9973, 'city ' || n % 317, (n % 100000) / 100.0, "
            f"date '2026-01-01' + n % 300, n % 3 = 0 FROM generate_series(1, {rows}) n"
        )
    return (
        f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) INSERT INTO bench_orders "
        "SELECT n, 'buyer ' || n % 9973, 'city ' || n % 317, (n % 100000) / 100.0, "
        "date('2026-01-01', (n % 300) || ' days'), n % 3 = 0 FROM s"
    )


def copy_out(desk: Desk, path: Path) -> float:
    """Return the seconds of ``COPY TO`` into a file, as psycopg's documentation writes it."""
    started = time.perf_counter()
    with desk.blocking.connect() as connection, path.open("wb") as file:
        with connection.connection.driver_connection.cursor() as cursor:
            with cursor.copy("COPY bench_orders TO STDOUT (FORMAT csv)") as copy:
                for data in copy:
                    file.write(data)
    return time.perf_counter() - started


def bare_workbook(rows: int, path: Path) -> float:
    """Return the seconds of xlsxwriter alone, the rows at hand."""
    import xlsxwriter

    values = [(n, f"buyer {n % 9973}", f"city {n % 317}", n % 100000 / 100, True) for n in range(rows)]
    started = time.perf_counter()
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        page = book.add_worksheet()
        form = book.add_format({"num_format": "yyyy-mm-dd"})
        from datetime import date

        day = date(2026, 1, 1)
        for row, (number, buyer, city, total, is_paid) in enumerate(values):
            page.write_number(row, 0, number)
            page.write_string(row, 1, buyer)
            page.write_string(row, 2, city)
            page.write_number(row, 3, total)
            page.write_datetime(row, 4, day, form)
            page.write_boolean(row, 5, is_paid)
    return time.perf_counter() - started


async def measure(url: str, rows: int, forms: tuple[str, ...], folder: Path) -> None:
    """Print what each format takes on one database."""
    log = structlog.get_logger()
    await asyncio.to_thread(upgrade_under_lock, open_database(url, clock=SystemClock(), log=log), [core_migrations()])
    database = open_database(url, clock=SystemClock(), log=log)
    queue = JobQueue(database, lambda key: None, keys=(), external_keys=(), payload_bytes=1)
    resources = SqlResources(database, DECLARED, queue, StandingOrders(database, DECLARED, queue))
    desk = Desk(resources, database, folder)
    with database.open_sync(limited=False).begin() as connection:
        ORDERS.create(connection)
        connection.execute(text(fill(database.dialect, rows)))
    if database.dialect == "postgresql":
        turns = [await asyncio.to_thread(copy_in_turn, desk, folder / "bare.csv") for _ in range(COPY_TURNS)]
        bare, ours = (median(side) for side in zip(*turns, strict=True))
        print(f"postgresql COPY TO            {bare:8.2f} s")
        print(f"postgresql export csv         {ours:8.2f} s  {bare / ours:5.2f} of the rate of COPY TO", flush=True)
    for form in forms:
        seconds = await asyncio.to_thread(run, desk, form)
        print(f"{database.dialect:10} export {form:6}     {seconds:8.2f} s", flush=True)
        if form == "xlsx":
            alone = await asyncio.to_thread(bare_workbook, rows, folder / "bare.xlsx")
            print(f"xlsxwriter alone              {alone:8.2f} s  export is {seconds / alone:5.2f} of it", flush=True)
    await desk.close()
    await database.close()


def run(desk: Desk, form: str) -> float:
    """Return the seconds of one export."""
    from builtin_plugins.exchange.exporting import run as export

    started = time.perf_counter()
    export(desk.task("bench.orders", format=form), desk.app)
    return time.perf_counter() - started


def copy_in_turn(desk: Desk, path: Path) -> tuple[float, float]:
    """Return the seconds of ``COPY TO`` and of our export, one after the other."""
    return copy_out(desk, path), run(desk, "csv")


async def main(rows: int, which: str) -> None:
    """Measure on both databases."""
    with tempfile.TemporaryDirectory() as folder:
        if which in ("all", "sqlite"):
            await measure(f"sqlite:///{folder}/bench.sqlite", rows, ("csv", "jsonl", "xlsx"), Path(folder))
        binaries = find_binaries(os.environ)
        if binaries is not None and which in ("all", "postgresql"):
            with PostgresServer(binaries) as server:
                await measure(server.create_database("bench"), rows, ("jsonl", "xlsx"), Path(folder))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000, sys.argv[2] if sys.argv[2:] else "all"))
