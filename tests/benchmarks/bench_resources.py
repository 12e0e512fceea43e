"""Pages of 100 records out of a million, by filter and sort, against the same statements by bare SQLAlchemy.

    python tests/benchmarks/bench_resources.py [--rows 1000000] [--pages 200] [--url postgresql://...]

Without ``--url`` it runs on SQLite in a temporary file. The two sides take turns, page by page, so that a busy minute
hits both; what is compared is the median of a page.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Coroutine, Sequence
from statistics import median
from typing import Any, TypeVar

import structlog
from sqlalchemy import Column, DateTime, Index, Integer, MetaData, Numeric, Table, Text, func, select, tuple_

from nocohost.api.resource import Resource
from nocohost.node.clock import SystemClock
from nocohost.queue.enqueue import JobQueue
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.resources.door import SqlResources
from nocohost.store.resources.standing import StandingOrders

T = TypeVar("T")
PAGE = 100
orders = Table(
    "bench_orders",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("country", Integer, nullable=False),
    Column("net", Numeric(12, 2), nullable=False),
    Column("note", Text),
    Column("ordered_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("bench_orders_net", "country", "net", "id"),
)
RESOURCE = Resource("bench.orders", orders, read="bench.read", write="bench.write")


async def fill(database: SqlDatabase, rows: int) -> None:
    """Fill the table, in chunks that stay within the time of a transaction."""
    async with database.begin() as connection:
        await connection.run_sync(orders.metadata.create_all)
    chunk = 50_000
    for start in range(0, rows, chunk):
        values = [
            {"customer": f"customer {place % 1000}", "country": place % 4, "net": (place * 7919) % 100_003}
            for place in range(start, min(start + chunk, rows))
        ]
        async with database.begin() as connection:
            await connection.execute(orders.insert(), values)


async def bare_page(database: SqlDatabase, after: Sequence[Any] | None) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """One page by SQLAlchemy alone: the same statement, its rows as they come."""
    statement = select(*orders.c).where(orders.c.country == 2, orders.c.net >= 100)
    if after is not None:
        statement = statement.where(tuple_(orders.c.net, orders.c.id) < tuple_(*after))
    statement = statement.order_by(orders.c.net.desc(), orders.c.id.desc()).limit(PAGE + 1)
    async with database.connect() as connection:
        rows = (await connection.execute(statement)).all()
    return rows[:PAGE], (rows[PAGE - 1].net, rows[PAGE - 1].id) if len(rows) > PAGE else None


async def timed(seconds: list[float], page: Coroutine[Any, Any, T]) -> T:
    """Wait for a page, and note how long it took."""
    begun = time.perf_counter()
    found = await page
    seconds.append(time.perf_counter() - begun)
    return found


async def measure(database: SqlDatabase, pages: int) -> tuple[float, float]:
    """Return the median seconds of a page: by ``app.resources``, and bare."""
    queue = JobQueue(database, lambda key: None, keys=(), external_keys=(), payload_bytes=262_144)
    declared = {RESOURCE.name: RESOURCE}
    resources = SqlResources(database, declared, queue, StandingOrders(database, declared, queue))
    question: dict[str, Any] = {"filter": {"country": 2, "net": {"ge": 100}}, "sort": "-net", "limit": PAGE}
    ours: list[float] = []
    theirs: list[float] = []
    cursor, place = None, None
    for turn in range(pages + 10):
        if turn % 2:  # whoever comes second finds the rows in memory
            rows, place = await timed(theirs, bare_page(database, place))
        page = await timed(ours, resources.list(RESOURCE.name, after=cursor, **question))
        if not turn % 2:
            rows, place = await timed(theirs, bare_page(database, place))
        assert [record["id"] for record in page.items] == [row.id for row in rows]
        cursor = page.next
    return median(ours[10:]), median(theirs[10:])


async def main() -> None:
    """Fill, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"sqlite:///{folder}/bench.sqlite"
        database = open_database(url, clock=SystemClock(), log=structlog.get_logger())
        try:
            await fill(database, given.rows)
            ours, theirs = await measure(database, given.pages)
        finally:
            await database.close()
    print(f"{database.dialect}, {given.rows:,} rows, {given.pages} pages of {PAGE}")
    print(f"app.resources {ours * 1000:.2f} ms a page, bare {theirs * 1000:.2f} ms: {theirs / ours:.2f} of bare")


if __name__ == "__main__":
    asyncio.run(main())
