"""A hundred thousand rows into PostgreSQL while the node that imports them is killed: every row is there, once."""

import asyncio
import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterator
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


async def test_a_killed_import_goes_on_elsewhere_and_every_row_is_there_once(database_url, tmp_path):
    url = database_url()
    file = write_file(tmp_path / "customers.csv", ROWS)
    shared = {"NOCOHOST_DATABASE__URL": url, "NOCOHOST_ADMIN_TOKEN": TOKEN}
    async with contextlib.AsyncExitStack() as stack:
        (front,) = await stack.enter_async_context(open_cluster(["!"], tmp_path / "front", shared))
        (back,) = await stack.enter_async_context(open_cluster(["async-task:process"], tmp_path / "back", shared))
        http = await stack.enter_async_context(aiohttp.ClientSession(front.url, headers=front.headers))
        here = {**shared, "NOCOHOST_DATA_DIR": str(tmp_path / "here")}
        task = await command(here, "task", "import", "shop.customers", str(file), "--owner", "admin")

        async def until(fits: Any) -> dict[str, Any]:
            async with asyncio.timeout(200):
                while True:
                    async with http.get(f"{TASKS}/{task['id']}") as answer:
                        found: dict[str, Any] = await answer.json()
                    assert found["state"] != "failed", found
                    if fits(found):
                        return found
                    await asyncio.sleep(0.02)

        def stored() -> int:
            with psycopg.connect(url) as connection:
                return int(connection.execute("SELECT count(*) FROM shop_customers").fetchone()[0])

        async with asyncio.timeout(200):
            while not stored():
                await asyncio.sleep(0.02)
        await back.kill()
        before = stored()
        assert 0 < before < ROWS, "killed in the middle"
        assert before % 10_000 == 0, "whole chunks"
        (other,) = await stack.enter_async_context(open_cluster(["async-task:process"], tmp_path / "other", shared))
        done = await until(lambda found: found["state"] == "succeeded")
        assert done["result"]["value"]["created"] == ROWS
        assert (done["progress"]["done"], done["row_errors"]) == (ROWS, 0)
        assert await other.stop() == 0
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT id, name, is_business::text, credit::text, since::text FROM shop_customers ORDER BY id"
        ).fetchall()
    assert found == list(customers(ROWS))
