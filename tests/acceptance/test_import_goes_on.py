"""Imports into PostgreSQL that are killed or cancelled in the middle, and go on: every row is there, once."""

import asyncio
import contextlib
import csv
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from nocohost.testing.cluster import open_cluster
from nocohost.testing.node import TOKEN

pytestmark = [pytest.mark.timeout(300), pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)]
ROWS = 100_000
TASKS = "/api/v1/tasks"


def customers(rows: int) -> Iterator[tuple[int, str, str, str, str]]:
    for number in range(1, rows + 1):
        yield number, f"Customer {number}, Ltd.", "true" if number % 3 else "false", f"{number / 100:.2f}", "2026-01-31"


def write_file(file: Path, rows: int) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "Name", "Business", "Credit", "Since"])
        writer.writerows(customers(rows))
    return file


async def command(environ: dict[str, str], *arguments: str) -> Any:
    """Run a verb on this machine and return the JSON it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "nocohost",
        *arguments,
        "--json",
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return json.loads(out)


class Import:
    """A task that a node runs, as the node that serves requests shows it, and the rows that it has stored."""

    def __init__(self, http: aiohttp.ClientSession, url: str, task_id: str) -> None:
        self.http = http
        self.url = url
        self.path = f"{TASKS}/{task_id}"

    async def until(self, *states: str) -> dict[str, Any]:
        async with asyncio.timeout(200):
            while True:
                async with self.http.get(self.path) as answer:
                    found: dict[str, Any] = await answer.json()
                if found["state"] in states:
                    return found
                assert found["state"] in {"pending", "running"}, found
                await asyncio.sleep(0.02)

    async def until_stored(self) -> None:
        async with asyncio.timeout(200):
            while not self.stored():
                await asyncio.sleep(0.02)

    def stored(self) -> int:
        with psycopg.connect(self.url) as connection:
            return int(connection.execute("SELECT count(*) FROM shop_customers").fetchone()[0])

    def rows(self) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT id, name, is_business::text, credit::text, since::text FROM shop_customers ORDER BY id"
            ).fetchall()


@contextlib.asynccontextmanager
async def begun(url: str, folder: Path, rows: int) -> AsyncIterator[tuple[Import, Any, Callable[[str], Any]]]:
    """Give an import that runs, the node that runs it, and what starts another; all share the database and no disk."""
    file = write_file(folder / "customers.csv", rows)
    # The leases of production: a machine too busy for short ones would fence the one node that imports.
    shared = {
        "NOCOHOST_DATABASE__URL": url,
        "NOCOHOST_ADMIN_TOKEN": TOKEN,
        "NOCOHOST_QUEUE__PROFILE": "default",
    }
    async with contextlib.AsyncExitStack() as stack:

        async def node(mode: str, name: str) -> Any:
            (started,) = await stack.enter_async_context(open_cluster([mode], folder / name, shared))
            return started

        front, back = await node("!", "front"), await node("async-task:process", "back")
        http = await stack.enter_async_context(aiohttp.ClientSession(front.url, headers=front.headers))
        here = {**shared, "NOCOHOST_DATA_DIR": str(folder / "here")}
        task = await command(here, "task", "import", "shop.customers", str(file), "--owner", "admin")
        yield Import(http, url, task["id"]), back, lambda name: node("async-task:process", name)


async def test_a_killed_import_goes_on_elsewhere_and_every_row_is_there_once(database_url, tmp_path):
    async with begun(database_url(), tmp_path, ROWS) as (brought, back, another):
        await brought.until_stored()
        await back.kill()
        before = brought.stored()
        assert 0 < before < ROWS, "killed in the middle"
        assert before % 10_000 == 0, "whole chunks"
        other = await another("other")
        done = await brought.until("succeeded")
        assert done["result"]["value"]["created"] == ROWS
        assert (done["progress"]["done"], done["row_errors"]) == (ROWS, 0)
        assert await other.stop() == 0
        assert brought.rows() == list(customers(ROWS))


async def test_a_cancelled_import_stops_between_two_chunks_and_goes_on_when_it_is_retried(database_url, tmp_path):
    rows = 4 * ROWS
    async with begun(database_url(), tmp_path, rows) as (brought, _, _):
        await brought.until_stored()
        asked = time.perf_counter()
        async with brought.http.post(f"{brought.path}/cancel") as answer:
            task = await answer.json()
            assert (answer.status, task["state"], task["cancel_requested"]) == (202, "running", True), task
        done = await brought.until("cancelled")
        print(f"cancel confirmed after {time.perf_counter() - asked:.2f} s")
        stored = brought.stored()
        assert 0 < stored < rows
        assert stored % 10_000 == 0, "whole chunks"
        assert (done["cancelable"], done["error"], done["finished_at"] is not None) == (False, None, True)
        async with brought.http.post(f"{brought.path}/cancel") as answer:
            assert (answer.status, (await answer.json())["code"]) == (409, "task.conflict")
        async with brought.http.post(f"{brought.path}/retry") as answer:
            assert answer.status == 202
        done = await brought.until("succeeded")
        assert (done["result"]["value"]["created"], done["progress"]["done"]) == (rows, rows)
        assert brought.rows() == list(customers(rows))
