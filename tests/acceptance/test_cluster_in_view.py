"""The cluster in view, with real processes on both databases: the alarm for work that nobody serves, and orders."""

import asyncio
import json
import os
import sys

import aiohttp
import pytest

from nocohost.testing.cluster import ClusterNode, open_cluster

pytestmark = pytest.mark.timeout(240)
KEY = "shop:invoice"


@pytest.fixture
def environ(database_url):
    return {"NOCOHOST_DATABASE__URL": database_url(), "NOCOHOST_QUEUE__PROFILE": "fast"}


@pytest.fixture
def nocohost(environ, tmp_path):
    """Return ``nocohost(*arguments)``: run the command with ``--json``; returns its exit code and what it printed."""

    async def nocohost(*arguments):
        process = await begin(environ, tmp_path, *arguments, "--json")
        out, _ = await process.communicate()
        return process.returncode, json.loads(out)

    return nocohost


async def begin(environ, folder, *arguments):
    environment = {**os.environ, **environ, "NOCOHOST_DATA_DIR": str(folder), "WORKER_MODE": ""}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nocohost", *arguments, env=environment, stdout=pipe, stderr=pipe
    )


async def warned(environ, folder):
    """Return what ``nodes list`` says on stderr to whoever reads it."""
    process = await begin(environ, folder, "nodes", "list")
    _, told = await process.communicate()
    return told.decode().splitlines()


async def until(condition, seconds=40):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.1)
    return found


async def ask(http, path, method="GET", **options):
    async with http.request(method, path, **options) as answer:
        return answer.status, await answer.json()


async def metric(node: ClusterNode, name: str) -> float:
    async with aiohttp.ClientSession(node.admin_url) as http, http.get("/metrics/cluster") as answer:
        text = await answer.text()
    return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f'{name}{{key="{KEY}"')))


async def checks(node: ClusterNode) -> dict[str, str]:
    async with aiohttp.ClientSession(node.admin_url) as http, http.get("/readyz?verbose=1") as answer:
        assert answer.status == 200
        return {check["name"]: check["message"] for check in (await answer.json())["checks"]}


def logged(node: ClusterNode, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in node.lines if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


async def test_work_that_nobody_serves_is_told_everywhere_until_a_node_serves_it(environ, tmp_path, nocohost):
    async with (
        open_cluster(["!"], tmp_path, environ) as (front,),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        status, ordered = await ask(http, "/shop/orders", "POST", json={"customer": "ada", "net": "10.00"})
        assert status == 202
        assert [warning["code"] for warning in ordered["warnings"]] == ["key.unserved"]
        status, job = await ask(http, "/api/v1/jobs", "POST", json={"key": KEY, "payload": {"order": ordered["order"]}})
        assert (status, [warning["code"] for warning in job["warnings"]]) == (202, ["key.unserved"])
        assert [reason["code"] for reason in (await ask(http, f"/api/v1/jobs/{job['id']}/explain"))[1]["reasons"]] == [
            "unserved"
        ]

        async def alarmed():
            return logged(front, "key.unserved")

        (line,) = await until(alarmed)
        assert (line["key"], line["due"]) == (KEY, "2 jobs")
        assert (await checks(front))["unserved"] == f"no live node serves {KEY}: 2 jobs due"
        assert await metric(front, "nocohost_unserved_jobs") == 2
        assert await metric(front, "nocohost_key_servers") == 0
        code, nodes = await nocohost("nodes", "list")
        assert (code, [(node["state"], node["services"]) for node in nodes]) == (0, [("serving", [])])
        assert await warned(environ, tmp_path) == [f"warning: no live node serves {KEY}: 2 jobs due"]
        code, told = await nocohost("doctor")
        problems = [finding for finding in told["findings"] if finding["level"] == "problem"]
        assert code == 3
        assert [finding["check"] for finding in problems] == ["unserved"]
        assert f"2 jobs of {KEY} are due" in problems[0]["message"]

        async with open_cluster([KEY], tmp_path, environ) as (back,):

            async def invoiced():
                return (await ask(http, f"/shop/orders/{ordered['order']}/invoice"))[0] == 200

            await until(invoiced)

            async def cleared():
                return logged(front, "key.cleared")

            (line,) = await until(cleared)
            assert len(logged(front, "key.unserved")) == 1
            assert "unserved" not in await checks(front)
            assert await metric(front, "nocohost_unserved_jobs") == 0
            assert await metric(front, "nocohost_key_servers") == 1
            again = {"key": KEY, "payload": {"order": ordered["order"]}}
            assert (await ask(http, "/api/v1/jobs", "POST", json=again))[1]["warnings"] == []
            code, told = await nocohost("doctor")
            assert (code, told["problems"]) == (0, 0), told
            assert {tuple(node["services"]) for node in (await nocohost("nodes", "list"))[1]} == {(), (KEY,)}
            assert await warned(environ, tmp_path) == []
            assert await back.stop() == 0
        (coverage,) = [one for one in (await ask(http, "/api/v1/coverage"))[1]["items"] if one["key"] == KEY]
        assert coverage["state"] == "gone"


async def test_a_node_is_made_quiet_and_stopped_from_afar_and_says_what_it_leaves(environ, tmp_path, nocohost):
    async with (
        open_cluster(["!", KEY], tmp_path, environ) as (front, back),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        _, listed = await ask(http, "/api/v1/nodes")
        (node,) = [one for one in listed["items"] if one["services"] == [KEY]]
        code, quiet = await nocohost("nodes", "quiet", node["name"])
        assert (code, quiet["state"]) == (0, "quiet")
        _, ordered = await ask(http, "/shop/orders", "POST", json={"customer": "ada", "net": "10.00"})

        async def knows():
            return (await checks(back))["state"].startswith("quiet")

        await until(knows)
        code, told = await nocohost("jobs", "explain", ordered["job"])
        assert [reason["code"] for reason in told["reasons"]] == ["unserved"]
        assert f"{node['name']} (quiet)" in told["reasons"][0]["message"]
        assert (await nocohost("nodes", "stop", node["name"]))[0] == 0
        async with asyncio.timeout(30):
            assert await back.process.wait() == 0
        (left,) = logged(back, "node.last_of_key")
        assert (left["key"], left["pending"]) == (KEY, 1)
        code, refused = await nocohost("nodes", "quiet", node["id"])
        assert (code, refused["error"]["code"]) == (1, "node.conflict")


async def test_a_key_is_paused_and_drained_in_the_whole_cluster(environ, tmp_path, nocohost):
    async with (
        open_cluster(["!", KEY], tmp_path, environ) as (front, _),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        code, paused = await nocohost("queue", "pause", KEY)
        assert (code, paused["state"]) == (0, "paused")
        assert "@" in paused["paused_by"]
        _, ordered = await ask(http, "/shop/orders", "POST", json={"customer": "ada", "net": "10.00"})
        code, drained = await nocohost("queue", "drain", KEY, "--within", "2s")
        assert (code, drained["running"], drained["released"], drained["pending"]) == (0, 0, 0, 1)
        assert (await ask(http, f"/shop/orders/{ordered['order']}/invoice"))[0] != 200
        assert (await nocohost("queue", "resume", KEY))[1]["paused_at"] is None

        async def invoiced():
            return (await ask(http, f"/shop/orders/{ordered['order']}/invoice"))[0] == 200

        await until(invoiced)
        assert KEY in [one["key"] for one in (await nocohost("queue", "list"))[1]]
