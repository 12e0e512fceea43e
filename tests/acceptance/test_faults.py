"""Nodes that freeze, block or lose their database: the work goes on, and nothing is done twice."""

import asyncio
import json
import os
import signal

import aiohttp
import pytest

from nocohost.testing.postgres import PostgresServer, find_binaries

pytestmark = pytest.mark.timeout(180)

SERVICE = '''
import asyncio
import time
from pathlib import Path

from nocohost import Service, hookimpl


def note(job, word):
    with Path(job.payload["notes"]).open("a") as notes:
        notes.write(f"{word} {job.fence}\\n")


async def slow(job, app):
    """Take a while; then tell, if the attempt still holds its job."""
    note(job, "begin")
    await asyncio.sleep(job.payload["seconds"])
    async with job.transaction():
        pass
    note(job, "end")
    return job.fence


async def blocking(job, app):
    """Block the event loop the first time."""
    note(job, "begin")
    if job.fence == 1:
        time.sleep(3600)
    return job.fence


@hookimpl
def register_services(app):
    key = __name__.rpartition("_")[2]
    return [Service(f"fault:{key}", {"slow": slow, "blocking": blocking}[key])]
'''


@pytest.fixture(scope="session")
def faults(install_wheels):
    from plugins.wheels import Wheel

    wheel = Wheel(
        "acme-fault",
        {"fault_slow.py": SERVICE, "fault_blocking.py": SERVICE},
        {"services": {"fault:slow": "fault_slow", "fault:blocking": "fault_blocking"}},
    )
    return str(install_wheels([wheel]))


@pytest.fixture
def durable_server():
    """A PostgreSQL server that forces what it commits to disk, unlike the one that most tests share."""
    binaries = find_binaries(os.environ)
    if binaries is None:
        pytest.skip("no PostgreSQL found")
    with PostgresServer(binaries, durable=True) as server:
        yield server


async def enqueue(http, key, **payload):
    async with http.post("/api/v1/jobs", json={"key": key, "payload": payload}) as answer:
        assert answer.status == 202, await answer.text()
        return (await answer.json())["id"]


async def job(http, job_id):
    async with http.get(f"/api/v1/jobs/{job_id}") as answer:
        return await answer.json()


async def until(ask, seconds=30):
    async with asyncio.timeout(seconds):
        while not (found := await ask()):
            await asyncio.sleep(0.1)
    return found


async def test_a_frozen_node_is_replaced_and_what_it_writes_late_is_refused(cluster, database_url, faults, tmp_path):
    notes = tmp_path / "notes"
    async with (
        cluster("!", "fault:slow", NOCOHOST_DATABASE__URL=database_url(), PYTHONPATH=faults) as (front, frozen),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        number = await enqueue(http, "fault:slow", notes=str(notes), seconds=2)

        async def begun():
            return notes.exists()

        await until(begun)
        frozen.process.signal(signal.SIGSTOP)
        async with cluster("fault:slow", NOCOHOST_DATABASE__URL=http_database(front), PYTHONPATH=faults):

            async def succeeded():
                row = await job(http, number)
                return row if row["state"] == "succeeded" else None

            row = await until(succeeded)
            frozen.process.signal(signal.SIGCONT)
            await asyncio.sleep(3)
            after = await job(http, number)
    assert row["value"] == after["value"] == 2
    assert (row["attempts"], row["state"]) == (after["attempts"], after["state"]) == (0, "succeeded")
    assert notes.read_text().split("\n")[:-1] == ["begin 1", "begin 2", "end 2"]


def http_database(node):
    return node.process.environment["NOCOHOST_DATABASE__URL"]


async def test_a_node_whose_loop_is_blocked_leaves_with_70_and_its_job_runs_elsewhere(
    cluster, database_url, faults, tmp_path
):
    url, notes = database_url(), tmp_path / "notes"
    async with (
        cluster("!", "fault:blocking", NOCOHOST_DATABASE__URL=url, PYTHONPATH=faults) as (
            front,
            blocked,
        ),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        number = await enqueue(http, "fault:blocking", notes=str(notes))
        async with asyncio.timeout(30):
            assert await blocked.process.wait() == 70
        assert any("event loop has been silent" in line for line in blocked.lines)
        await blocked.start()

        async def succeeded():
            row = await job(http, number)
            return row if row["state"] == "succeeded" else None

        row = await until(succeeded)
    assert (row["value"], row["attempts"]) == (2, 0)
    assert notes.read_text() == "begin 1\nbegin 2\n"


async def test_a_database_that_crashes_and_returns_loses_no_order(cluster, durable_server):
    url = durable_server.create_database("crashing")
    async with (
        cluster("!", "shop:invoice", NOCOHOST_DATABASE__URL=url) as (front, back),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        accepted = []

        async def post(number):
            async with http.post("/shop/orders", json={"customer": str(number), "net": "1.00"}) as answer:
                assert answer.status in {202, 503}, (await answer.text(), front.lines[-6:])
                if answer.status == 202:
                    accepted.append((await answer.json())["order"])

        for number in range(10):
            await post(number)
        durable_server.stop()
        for number in range(3):
            await post(number)
        before = len(accepted)
        await asyncio.to_thread(durable_server.start)
        for number in range(10):
            await post(number)

        async def all_there():
            found = []
            for number in accepted:
                async with http.get(f"/shop/orders/{number}/invoice") as answer:
                    found.append((await answer.json())["invoice"] if answer.status == 200 else None)
            return found if all(found) else None

        invoices = await until(all_there, 60)
        assert before == 10
        assert len(accepted) >= 15
        assert len(set(invoices)) == len(accepted)
        assert await back.stop() == 0
    failing = [json.loads(line) for line in back.lines if "loop.failing" in line]
    assert len(failing) <= 6, failing
