"""The main job: orders posted to one process become invoices made by another, on both databases, come what may."""

import asyncio

import aiohttp
import pytest

pytestmark = pytest.mark.timeout(180)
ORDERS = 25


@pytest.fixture
def shop(cluster, database_url):
    """Return ``shop(*modes)``: a cluster on a fresh database of the kind under test."""
    url = database_url()

    def open_shop(*modes):
        return cluster(*modes, NOCOHOST_DATABASE__URL=url)

    return open_shop


async def order(session, number):
    async with session.post("/shop/orders", json={"customer": f"customer {number}", "net": "10.00"}) as answer:
        assert answer.status == 202, await answer.text()
        return (await answer.json())["order"]


async def invoices(session, orders):
    found = {}
    for number in orders:
        async with session.get(f"/shop/orders/{number}/invoice") as answer:
            if answer.status == 200:
                found[number] = await answer.json()
    return found


async def all_invoiced(session, orders, seconds=30):
    async with asyncio.timeout(seconds):
        while len(found := await invoices(session, orders)) < len(orders):
            await asyncio.sleep(0.1)
    return found


async def test_one_process_takes_the_order_and_another_makes_the_invoice(shop):
    async with shop("!", "shop:invoice") as (front, _), aiohttp.ClientSession(front.url, headers=front.headers) as http:
        number = await order(http, 1)
        invoice = (await all_invoiced(http, [number]))[number]
    assert invoice["total"] == "11.90"
    assert invoice["node"] == "node-2"


async def test_a_killed_node_leaves_every_order_invoiced_once(shop):
    async with (
        shop("!", "shop:invoice") as (front, back),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        first = [await order(http, number) for number in range(ORDERS)]
        await back.kill()
        rest = [await order(http, number) for number in range(ORDERS)]
        assert not await invoices(http, rest)
        await back.start()
        found = await all_invoiced(http, first + rest)
        async with http.get("/api/v1/jobs?state=dead") as answer:
            assert (await answer.json())["items"] == []
    numbers = [invoice["invoice"] for invoice in found.values()]
    assert len(set(numbers)) == 2 * ORDERS


async def test_the_jobs_of_a_killed_node_run_on_another_that_lives(shop):
    async with (
        shop("!", "shop:invoice", "shop:invoice") as (front, one, other),
        aiohttp.ClientSession(front.url, headers=front.headers) as http,
    ):
        numbers = [await order(http, number) for number in range(ORDERS)]
        await one.kill()
        numbers += [await order(http, number) for number in range(ORDERS)]
        found = await all_invoiced(http, numbers)
        assert await other.stop() == 0
    assert len({invoice["invoice"] for invoice in found.values()}) == 2 * ORDERS
