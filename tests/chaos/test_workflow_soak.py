"""Executions of thirty steps on nodes that are killed every two seconds: all end right, nothing is committed twice."""

import asyncio
import contextlib
import os
import random
import sys
import time

import aiohttp
import pytest
from aiohttp import web

EXECUTIONS = int(os.environ.get("NOCOHOST_SOAK_EXECUTIONS", "300"))
KILL_SECONDS = 2.0
ROUNDS = 10
STEPS = [
    {
        "key": "each",
        "type": "loop",
        "count": ROUNDS,
        "as": "i",
        "do": [
            {"key": "before", "type": "calculate", "value": "trigger.input.x + i"},
            {
                "key": "told",
                "type": "http",
                "method": "POST",
                "url": "= trigger.input.url",
                "json": {"n": "= steps.before"},
            },
            {"key": "after", "type": "calculate", "value": "steps.told.body.n * 2"},
        ],
    }
]
OPEN = ("queued", "running", "waiting")


@pytest.fixture
async def ledger():
    """A server that writes down what it was told, by idempotency key."""
    calls: dict[str, int] = {}

    async def answer(request):
        key = request.headers["Idempotency-Key"]
        calls[key] = calls.get(key, 0) + 1
        await asyncio.sleep(0.05)
        return web.json_response({"n": (await request.json())["n"]})

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", calls
    await runner.cleanup()


async def ask(session, node, method, path, body=None):
    async with session.request(method, f"{node.url}{path}", json=body, headers=node.headers) as answer:
        return await answer.json()


async def kill_on(nodes, killed):
    """Kill a random node every two seconds, and start another in its place at once."""
    starting: dict[int, asyncio.Task] = {}
    try:
        while True:
            await asyncio.sleep(KILL_SECONDS)
            for number in [number for number, task in starting.items() if task.done()]:
                await starting.pop(number)
            ready = [number for number in range(len(nodes)) if number not in starting]
            if ready:
                number = random.choice(ready)
                await nodes[number].kill()
                killed.append(time.monotonic())
                starting[number] = asyncio.create_task(nodes[number].start())
    finally:
        await asyncio.gather(*starting.values())


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_every_execution_ends_right_while_nodes_are_killed(cluster, database_url, ledger):
    url, calls = ledger
    settings = {
        "NOCOHOST_DATABASE__URL": database_url(),
        "NOCOHOST_QUEUE__PROFILE": "fast",
        "NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW": '["127.0.0.1"]',
    }
    killed: list[float] = []
    modes = ("!", "workflow:process", "workflow:process", "workflow:process")
    async with cluster(*modes, **settings) as nodes, aiohttp.ClientSession() as session:
        definition = {
            "version": 1,
            "name": "soak",
            "trigger": {"type": "api"},
            "steps": STEPS,
            "output": "steps.each.values",
        }
        await ask(session, nodes[0], "POST", "/api/v1/workflows?enable=true", definition)
        began_at = time.monotonic()
        killer = asyncio.create_task(kill_on(nodes[1:], killed))
        started = []
        try:
            for number in range(EXECUTIONS):
                body = {"input": {"x": number, "url": url}}
                started.append(await ask(session, nodes[0], "POST", "/api/v1/workflows/soak/executions", body))
            while any([(await page(session, nodes[0], state)) for state in OPEN]):
                assert not killer.done(), killer.exception()
                await asyncio.sleep(0.5)
        finally:
            killer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killer
        seconds = time.monotonic() - began_at
        repeated = await check(session, nodes[0], started, calls)
    sys.stderr.write(
        f"{EXECUTIONS} executions in {seconds:.0f} s, {len(killed)} kills, {repeated} steps in flight were repeated\n"
    )


async def page(session, node, state):
    return (await ask(session, node, "GET", f"/api/v1/executions?state={state}&limit=1"))["items"]


async def check(session, node, started, calls):
    """Compare every execution with what it must be, and its rows with the ledger; return how many calls came twice."""
    repeated = 0
    for number, first in enumerate(started):
        shown = await ask(session, node, "GET", f"/api/v1/executions/{first['id']}")
        assert (shown["state"], shown["reason"]) == ("succeeded", None)
        assert shown["output"] == [(number + i) * 2 for i in range(ROUNDS)]
        assert len(shown["steps"]) == 1 + 3 * ROUNDS
        for step in shown["steps"]:
            if step["type"] == "http":
                count = calls[f"{shown['id']}:{step['path']}:{step['iteration']}"]
                assert 1 <= count <= step["attempts"], f"{count} calls, {step['attempts']} attempts: {step}"
                repeated += count - 1
            assert step["state"] == "succeeded"
    assert len(calls) == len(started) * ROUNDS
    return repeated
