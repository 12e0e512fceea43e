"""A cluster whose nodes reach PostgreSQL by a pooler in transaction mode: everything works, at the pace of a poll."""

import asyncio
import json
import os
import sys

import aiohttp
import pytest
from probes.poolers import POOLERS, behind

from nocohost.testing.cluster import ClusterNode, open_cluster

pytestmark = [pytest.mark.timeout(240), pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)]
KEY = "shop:invoice"
ORDERS = 20
WRONG = {"node.fenced", "node.unannounced", "hints.away"}


@pytest.fixture(params=POOLERS)
async def pooled_url(request, postgresql_server, database_url):
    async with behind(request.param, postgresql_server, database_url()) as url:
        yield url


async def order(http: aiohttp.ClientSession) -> int:
    async with http.post("/shop/orders", json={"customer": "ada", "net": "10.00"}) as answer:
        assert answer.status == 202, await answer.text()
        return (await answer.json())["order"]


async def invoices(http: aiohttp.ClientSession, orders: list[int]) -> list[int]:
    """Wait until each of ``orders`` is invoiced; return the numbers of the invoices."""
    found = []
    async with asyncio.timeout(120):
        for number in orders:
            while True:
                async with http.get(f"/shop/orders/{number}/invoice") as answer:
                    if answer.status == 200:
                        found.append((await answer.json())["invoice"])
                        break
                await asyncio.sleep(0.1)
    return found


def events(node: ClusterNode) -> list[str]:
    return [json.loads(line)["event"] for line in node.lines if line.startswith("{")]


async def test_nodes_behind_a_pooler_migrate_work_recover_and_drain(pooled_url, tmp_path):
    # The leases of production: a machine too busy for short ones would fence its nodes, and rightly.
    environ = {"NOCOHOST_DATABASE__URL": pooled_url, "NOCOHOST_QUEUE__PROFILE": "default"}
    async with (
        open_cluster(["!", KEY, KEY], tmp_path, environ) as (front, one, other),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        orders = await asyncio.gather(*(order(http) for _ in range(ORDERS)))
        await one.kill()
        orders += await asyncio.gather(*(order(http) for _ in range(ORDERS)))
        found = await invoices(http, orders)
        assert len(set(found)) == 2 * ORDERS, "an order without its invoice, or one invoiced twice"
        async with http.get("/api/v1/jobs?state=dead") as answer:
            assert (await answer.json())["items"] == []
        assert "pooler" in await doctor(environ, tmp_path)
        async with asyncio.timeout(30):
            while not all("hints.deaf" in events(node) for node in (front, other)):
                await asyncio.sleep(0.1)
        assert [await other.stop(), await front.stop()] == [0, 0]
        said = [(json.loads(line)["event"], line) for node in (front, other) for line in node.lines if line[:1] == "{"]
        wrong = [line for event, line in said if event in WRONG]
        assert not wrong, "\n".join(wrong)
        deaf = [line for event, line in said if event == "hints.deaf"]
        assert len(deaf) == 2, "\n".join(["it is said once", *deaf])


async def doctor(environ: dict[str, str], folder) -> list[str]:
    """Return what the doctor warns of."""
    environment = {**os.environ, **environ, "NOCOHOST_DATA_DIR": str(folder), "WORKER_MODE": ""}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nocohost", "doctor", "--json", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return [finding["check"] for finding in json.loads(out)["findings"] if finding["level"] == "warning"]
