"""Files in by one node, worked on by another, out by the first, which share a PostgreSQL and no disk."""

import asyncio
import csv
import io
import json
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import aiohttp
import openpyxl
import psutil
import pytest

from nocohost.testing.cluster import open_cluster
from nocohost.testing.node import TOKEN

pytestmark = [pytest.mark.timeout(240), pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)]
TASKS = "/api/v1/tasks"
NAMES = ["=1+1", 'Zoë, "the" Ltd.', "two\nlines", "名前", "-plain"]
ROWS = [(f"{NAMES[number % 5]} {number}", f"{number}.{number % 100:02}") for number in range(1, 1501)]


class Client:
    """Speaks to the node that serves requests."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def bring(self, content: bytes, **params: Any) -> dict[str, Any]:
        form = aiohttp.FormData()
        form.add_field("params", json.dumps(params), content_type="application/json")
        form.add_field("file", io.BytesIO(content), filename="../customers.csv", content_type="text/csv")
        return await self._accepted(data=form)

    async def order(self, **params: Any) -> dict[str, Any]:
        return await self._accepted(json={"kind": "export", "params": params})

    async def succeeded(self, task: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while True:
                async with self._http.get(f"{TASKS}/{task['id']}") as answer:
                    found: dict[str, Any] = await answer.json()
                if found["state"] not in {"pending", "running"}:
                    assert found["state"] == "succeeded", found
                    return found
                await asyncio.sleep(0.05)

    async def result(self, task: dict[str, Any]) -> bytes:
        async with self._http.get(f"{TASKS}/{task['id']}/result") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Disposition"].startswith("attachment;")
            return await answer.read()

    async def _accepted(self, **body: Any) -> dict[str, Any]:
        async with self._http.post(TASKS, **body) as answer:
            task: dict[str, Any] = await answer.json()
            assert (answer.status, answer.headers.get("Location")) == (202, f"{TASKS}/{task.get('id')}"), task
            return task


def as_csv(rows: Sequence[tuple[str, str]] = ROWS) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("Name", "Credit"), *rows])
    return text.getvalue().encode()


async def test_what_is_imported_by_one_node_is_exported_by_another_cell_by_cell(database_url, tmp_path):
    shared = {"NOCOHOST_DATABASE__URL": database_url(), "NOCOHOST_ADMIN_TOKEN": TOKEN}
    async with AsyncExitStack() as stack:
        (front,) = await stack.enter_async_context(open_cluster(["!"], tmp_path / "front", shared))
        await stack.enter_async_context(open_cluster(["async-task:process"], tmp_path / "back", shared))
        client = Client(await stack.enter_async_context(aiohttp.ClientSession(front.url, headers=front.headers)))
        brought = await client.succeeded(await client.bring(as_csv(), resource="shop.customers"))
        assert brought["result"]["value"]["created"] == len(ROWS)
        assert (brought["progress"]["done"], brought["progress"]["total"]) == (len(ROWS), len(ROWS))

        wanted = {"resource": "shop.customers", "fields": ["name", "credit"], "sort": "id"}
        taken = {
            form: await client.result(await client.succeeded(await client.order(format=form, **wanted)))
            for form in ("xlsx", "csv", "jsonl")
        }
    (head, *cells) = openpyxl.load_workbook(io.BytesIO(taken["xlsx"])).active.iter_rows(values_only=True)
    assert head == ("Name", "Credit")
    assert [(name, Decimal(str(credit)).quantize(Decimal("0.01"))) for name, credit in cells] == [
        (name, Decimal(credit)) for name, credit in ROWS
    ]
    guarded = [(f"'{name}" if name[0] in "=-" else name, credit) for name, credit in ROWS]
    assert [tuple(row) for row in csv.reader(io.StringIO(taken["csv"].decode(), newline=""))][1:] == guarded
    records = [json.loads(line) for line in taken["jsonl"].splitlines()]
    assert [(record["name"], record["credit"]) for record in records] == ROWS


async def test_an_export_that_is_killed_leaves_no_temporary_file_and_is_made_by_the_next_attempt(
    database_url, tmp_path
):
    rows = [(f"Customer {number}", f"{number}.00") for number in range(1, 60_001)]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {
        "NOCOHOST_DATABASE__URL": database_url(),
        "NOCOHOST_ADMIN_TOKEN": TOKEN,
        "NOCOHOST_QUEUE__PROFILE": "default",  # a machine too busy for short leases would fence the one node there is
        "TMPDIR": str(temporary),
    }
    async with AsyncExitStack() as stack:
        (node,) = await stack.enter_async_context(open_cluster(["!,async-task:process"], tmp_path, environ))
        client = Client(await stack.enter_async_context(aiohttp.ClientSession(node.url, headers=node.headers)))
        await client.succeeded(await client.bring(as_csv(rows), resource="shop.customers"))
        task = await client.order(format="xlsx", resource="shop.customers", fields=["name", "credit"])
        async with asyncio.timeout(120):
            while not (written := list(temporary.glob("nocohost-node-*/child-*/nocohost-export-*/*"))):
                await asyncio.sleep(0.005)
        folder = written[0].parents[1]
        assert node.process.process is not None
        children = psutil.Process(node.process.process.pid).children()
        os.kill(next(child.pid for child in children if str(folder) in child.cmdline()), signal.SIGKILL)
        made = await client.succeeded(task)
        assert made["result"]["value"]["rows"] == len(rows)
        assert not folder.exists()
        assert list(temporary.glob("**/nocohost-export-*")) == []
        assert await node.stop() == 0
    assert list(temporary.glob("nocohost-*")) == []
