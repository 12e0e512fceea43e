"""How soon a running import or export that is cancelled says so: ``python tests/benchmarks/bench_cancel.py [ROWS]``.

One node answers requests, another runs tasks, on one PostgreSQL with its own defaults. Each task is cancelled over HTTP
at another moment of its run, and asked every 10 ms until it is ``cancelled``; the seconds count from the request.
"""

import asyncio
import csv
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psycopg

from nocohost.testing.cluster import open_cluster
from nocohost.testing.node import TOKEN
from nocohost.testing.postgres import PostgresServer, find_binaries

TASKS = "/api/v1/tasks"
RESOURCE = "shop.customers"
MOST_SECONDS = 2.0
TURNS = 5
PAUSES = {"import": 0.8, "export jsonl": 0.8, "export xlsx": 1.5}
"""Between one turn's moment and that of the next, in seconds after the task began to run."""


def customers(rows: int) -> bytes:
    """Return so many rows of CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", "Name", "Business", "Credit", "Since"])
    writer.writerows(
        (number, f"Customer {number}, Ltd.", number % 3 > 0, f"{number / 100:.2f}", "2026-01-31")
        for number in range(1, rows + 1)
    )
    return text.getvalue().encode()


class Desk:
    """Starts and cancels tasks by HTTP."""

    def __init__(self, http: aiohttp.ClientSession, content: bytes) -> None:
        self._http = http
        self._content = content

    async def start(self, what: str) -> str:
        """Start an import of the file, or an export to a format, and return its id."""
        kind, _, form = what.partition(" ")
        if kind == "export":
            body: dict[str, Any] = {"json": {"kind": kind, "params": {"resource": RESOURCE, "format": form}}}
        else:
            data = aiohttp.FormData()
            data.add_field("params", json.dumps({"resource": RESOURCE}), content_type="application/json")
            data.add_field("file", io.BytesIO(self._content), filename="customers.csv", content_type="text/csv")
            body = {"data": data}
        async with self._http.post(TASKS, **body) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["id"])

    async def until(self, task_id: str, state: str, *, is_read: bool = False) -> dict[str, Any]:
        """Wait until the task is in this state, or, with ``is_read``, until no row is left to be read."""
        while True:
            async with self._http.get(f"{TASKS}/{task_id}") as answer:
                found: dict[str, Any] = await answer.json()
            progress = found["progress"] or {}
            if found["state"] == state and (not is_read or 0 < progress.get("done", 0) == progress.get("total")):
                return found
            assert found["state"] in ("pending", "running"), found
            await asyncio.sleep(0.01)

    async def cancel(self, task_id: str) -> float:
        """Cancel the task, and return the seconds until it says so."""
        started = time.perf_counter()
        async with self._http.post(f"{TASKS}/{task_id}/cancel") as answer:
            assert answer.status == 202, await answer.text()
        await self.until(task_id, "cancelled")
        return time.perf_counter() - started


async def measure(desk: Desk, what: str, url: str) -> list[float]:
    """Return the seconds of each turn."""
    taken = []
    for turn in range(TURNS):
        if what == "import":
            await fill(url, 0)
        task_id = await desk.start(what)
        await desk.until(task_id, "running")
        await asyncio.sleep(0.2 + turn * PAUSES[what])
        taken.append(await desk.cancel(task_id))
    return taken


async def measure_packing(desk: Desk) -> list[float]:
    """Return the seconds of an export that is cancelled when all rows are read, and the workbook is being packed."""
    task_id = await desk.start("export xlsx")
    await desk.until(task_id, "running", is_read=True)
    return [await desk.cancel(task_id)]


@asynccontextmanager
async def opened(url: str, content: bytes, folder: Path) -> AsyncIterator[Desk]:
    """Run the two nodes within the block."""
    shared = {"NOCOHOST_DATABASE__URL": url, "NOCOHOST_ADMIN_TOKEN": TOKEN, "NOCOHOST_QUEUE__PROFILE": "default"}
    async with AsyncExitStack() as stack:
        (front,) = await stack.enter_async_context(open_cluster(["!"], folder / "front", shared))
        await stack.enter_async_context(open_cluster(["async-task:process"], folder / "back", shared))
        timeout = aiohttp.ClientTimeout(total=600)
        session = aiohttp.ClientSession(front.url, headers=front.headers, timeout=timeout)
        yield Desk(await stack.enter_async_context(session), content)


async def main(rows: int) -> int:
    """Measure, tell, and return the exit code."""
    binaries = find_binaries(os.environ)
    if binaries is None:
        sys.exit("no PostgreSQL: pip install -e '.[test]'")
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, PostgresServer(binaries) as server:
        url = server.create_database("bench")
        async with opened(url, customers(rows), Path(folder)) as desk:
            found["import"] = await measure(desk, "import", url)
            await fill(url, rows)
            for what in ("export jsonl", "export xlsx"):
                found[what] = await measure(desk, what, url)
            found["export xlsx, being packed"] = await measure_packing(desk)
    for what, taken in found.items():
        shown = " ".join(f"{seconds:.2f}" for seconds in taken)
        print(f"{what:26} {median(taken):5.2f} s at the median (at most {MOST_SECONDS:g})   {shown}")
    return 3 if median(found["import"]) > MOST_SECONDS else 0


async def fill(url: str, rows: int) -> None:
    """Let the table have as many rows as the file, or none."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("TRUNCATE shop_customers CASCADE")
        await connection.execute(
            "INSERT INTO shop_customers (id, name, is_business, credit, since) SELECT n, 'Customer ' || n || ', Ltd.', "
            f"n % 3 > 0, n / 100.0, date '2026-01-31' FROM generate_series(1, {rows}) n"
        )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)))
