"""The workflow of the shop on real nodes: an order comes in, its node is killed three times, and it ends right."""

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

pytestmark = pytest.mark.timeout(240)
FILE = Path(__file__).parents[1] / "plugins" / "acme_shop" / "workflows" / "order-intake.yaml"
ORDER = {
    "customer": "Ada",
    "lines": [{"quantity": 2, "price": "50.00"}, {"quantity": 1, "price": "20.50"}],
}
SERVICES = "async-task:process,shop:invoice"


@pytest.fixture
async def warehouse():
    """A server of this machine: what it was told, by idempotency key."""
    told: dict[str, list] = {}

    async def answer(request):
        told.setdefault(request.headers["Idempotency-Key"], []).append(await request.json())
        await asyncio.sleep(0.3)
        return web.json_response({"taken": True})

    application = web.Application()
    application.router.add_post("/orders", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/orders", told
    await runner.cleanup()


class Front:
    """Asks one node that answers requests."""

    def __init__(self, session, node) -> None:
        self.session = session
        self.node = node

    async def ask(self, method, path, body=None):
        async with self.session.request(
            method, f"{self.node.url}{path}", json=body, headers=self.node.headers
        ) as answer:
            return answer.status, await answer.json()

    async def order(self, url):
        definition = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        status, stored = await self.ask("POST", "/api/v1/workflows?enable=true", definition)
        assert status == 201, stored
        status, told = await self.ask("POST", stored["webhook"], {**ORDER, "warehouse": url})
        assert status == 202, told
        return told["execution"]

    async def until(self, execution, fits, seconds=90):
        async with asyncio.timeout(seconds):
            while True:
                _, shown = await self.ask("GET", f"/api/v1/executions/{execution}")
                if fits(shown):
                    return shown
                await asyncio.sleep(0.1)

    async def end(self, execution, released_by="Bob"):
        await self.until(execution, lambda one: any(step["key"] == "released" for step in one["steps"]))
        status, _ = await self.ask("POST", f"/api/v1/executions/{execution}/signals/released", {"value": released_by})
        assert status == 202
        return await self.until(execution, lambda one: one["state"] not in ("queued", "running", "waiting"))


def check(shown, told):
    assert (shown["state"], shown["reason"]) == ("succeeded", None)
    assert shown["output"] == {"order": 1, "net": "120.50", "discount": 0.0, "released_by": "Bob"}
    by_key = {step["key"]: step for step in shown["steps"] if step["iteration"] is None}
    assert by_key["invoice"]["state"] == by_key["file"]["state"] == "succeeded"
    assert list(told) == [f"{shown['id']}:large/then/warehouse:"]
    places = [(step["path"], step["iteration"]) for step in shown["steps"]]
    assert len(places) == len(set(places))


async def test_an_order_goes_through_while_its_node_is_killed_three_times(cluster, database_url, warehouse):
    url, told = warehouse
    settings = {
        "NOCOHOST_DATABASE__URL": database_url(),
        "NOCOHOST_QUEUE__PROFILE": "fast",
        "NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW": '["127.0.0.1"]',
    }
    async with cluster("!", "workflow:process", SERVICES, **settings) as nodes, aiohttp.ClientSession() as session:
        front = Front(session, nodes[0])
        execution = await front.order(url)
        for _ in range(3):
            await asyncio.sleep(random.uniform(0.1, 2.0))
            await nodes[1].kill()
            await nodes[1].start()
        shown = await front.end(execution)
        check(shown, told)
        _, orders = await front.ask("GET", "/api/v1/resources/shop.orders")
        assert [order["net"] for order in orders["items"]] == ["120.50"]


async def test_one_node_that_serves_everything_gives_the_same(cluster, warehouse):
    url, told = warehouse
    async with (
        cluster("", NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW='["127.0.0.1"]') as nodes,
        aiohttp.ClientSession() as session,
    ):
        front = Front(session, nodes[0])
        check(await front.end(await front.order(url)), told)
