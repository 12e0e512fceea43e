"""The shop's own tests, on nocohost's pytest plugin."""

import asyncio
import sys
from datetime import timedelta

import aiohttp
import pytest

from nocohost import PayloadError, Subscription, UnknownKeyError

ORDER = {"customer": "Ada", "net": "100.00"}


async def place(node, order=ORDER):
    async with aiohttp.ClientSession(node.url, headers=node.headers) as session:
        async with session.post("/shop/orders", json=order) as answer:
            return answer.status, await answer.json()


async def invoice_of(node, order):
    async with aiohttp.ClientSession(node.url, headers=node.headers) as session:
        async with session.get(f"/shop/orders/{order}/invoice") as answer:
            return await answer.json() if answer.status == 200 else None


async def test_one_node_takes_the_order_and_makes_the_invoice(node):
    async with node("") as everything:
        status, order = await place(everything)
        await everything.settled()
        invoice = await invoice_of(everything, order["order"])
    assert status == 202
    assert (invoice["total"], invoice["currency"]) == ("119.00", "EUR")


async def test_requests_node_takes_the_order_and_another_makes_the_invoice(node):
    async with node("!", NOCOHOST_NODE_NAME="front") as front:
        _, order = await place(front)
        await front.settled()
        assert await invoice_of(front, order["order"]) is None
        async with node("shop:invoice", NOCOHOST_NODE_NAME="back") as back:
            await back.settled()
        assert (await invoice_of(front, order["order"]))["node"] == "back"


async def test_settings_of_the_shop_reach_the_service(node):
    async with node("", NOCOHOST_PLUGINS__SHOP__TAX_PERCENT="7", NOCOHOST_PLUGINS__SHOP__CURRENCY="CHF") as shop:
        _, order = await place(shop)
        await shop.settled()
        invoice = await invoice_of(shop, order["order"])
    assert (invoice["total"], invoice["currency"]) == ("107.00", "CHF")


async def test_an_order_without_a_customer_is_refused_and_leaves_nothing(node):
    async with node("") as shop:
        status, problem = await place(shop, {"customer": "", "net": "1.00"})
        assert (status, problem["detail"]) == (422, "customer: String should have at least 1 character")
        status, problem = await place(shop, {"customer": "a\0b", "net": "1.00"})
        assert (status, problem["detail"]) == (422, "customer: String should match pattern '^[^\\x00]*$'")
        assert await invoice_of(shop, 1) is None


async def test_a_payload_that_does_not_fit_is_refused_where_the_service_does_not_run(node):
    async with node("!") as front:
        with pytest.raises(PayloadError, match="order"):
            await front.app.queue.enqueue("shop:invoice", {"order": 0})
        with pytest.raises(UnknownKeyError, match="shop:invoise"):
            await front.app.queue.enqueue("shop:invoise", {"order": 1})
        assert front.app.serving()
        assert not front.app.serving("shop:invoice")


async def test_an_order_that_does_not_exist_becomes_a_dead_letter(node):
    async with node("") as shop:
        job = await shop.app.queue.enqueue("shop:invoice", {"order": 12345})
        await shop.settled()
        async with aiohttp.ClientSession(shop.url, headers=shop.headers) as session:
            async with session.get(f"/api/v1/jobs/{job.id}") as answer:
                row = await answer.json()
    assert row["state"] == "dead"
    assert "no order 12345" in row["last_error"]


async def test_customers_and_orders_are_shared_on_every_node_that_serves_requests(node):
    async with node("!") as front, aiohttp.ClientSession(front.url, headers=front.headers) as http:
        async with http.post("/api/v1/resources/shop.customers", json={"name": "Ada", "credit": "99.90"}) as answer:
            assert answer.status == 201
            ada = await answer.json()
        async with http.post("/api/v1/resources/shop.customers", json={"name": "Ada"}) as answer:
            assert (answer.status, (await answer.json())["faults"]) == (409, ["name: is taken by another record"])
        for net in ("1.00", "250.00", "100.00"):
            await place(front, {"customer": "Ada", "net": net})
        query = {"filter": '{"net": {"ge": 100}}', "sort": "-net", "fields": "net,customer_id"}
        async with http.get("/api/v1/resources/shop.orders", params=query) as answer:
            found = await answer.json()
        assert found["items"] == [{"net": "250.00", "customer_id": None}, {"net": "100.00", "customer_id": None}]
        async with http.patch("/api/v1/resources/shop.orders/1", json={"customer_id": ada["id"]}) as answer:
            assert (await answer.json())["customer_id"] == ada["id"]
        async with http.delete(f"/api/v1/resources/shop.customers/{ada['id']}") as answer:
            assert answer.status == 409


async def test_what_a_subscriber_s_job_type_does_not_take_is_a_dead_letter_and_stops_no_order(node):
    async with node("") as shop:
        await shop.app.resources.subscriptions.set(
            Subscription("shop.new-orders", "shop.orders", "shop:invoice", on=("create",))
        )
        order = await shop.app.resources.create("shop.orders", {"customer": "Ada", "net": "100.00"})
        await shop.settled()
        async with shop.app.database.connect() as connection:
            rows = await connection.exec_driver_sql("SELECT state, last_error, payload FROM nocohost_history")
            (row,) = rows.all()
    assert str(order["id"]) in row.payload
    assert (row.state, "order: Field required" in row.last_error) == ("dead", True)


async def test_a_job_enqueued_for_later_waits_for_its_time(node, clock):
    async with node("") as shop:
        _, order = await place(shop)
        await shop.settled()
        run_at = clock.now() + timedelta(minutes=10)
        job = await shop.app.queue.enqueue("shop:invoice", {"order": order["order"]}, run_at=run_at)
        await shop.advance(300)
        assert (await job_row(shop, job.id))["state"] == "pending"
        await shop.advance(400)
        assert (await job_row(shop, job.id))["state"] == "succeeded"


async def job_row(node, job_id):
    async with aiohttp.ClientSession(node.url, headers=node.headers) as session:
        async with session.get(f"/api/v1/jobs/{job_id}") as answer:
            return await answer.json()


async def test_real_processes_share_the_work_and_survive_a_kill(cluster):
    async with cluster("!", "shop:invoice") as (front, back):
        _, first = await place(front)
        await until(lambda: invoice_of(front, first["order"]))
        await back.kill()
        _, second = await place(front)
        assert await invoice_of(front, second["order"]) is None
        await back.start()
        assert (await until(lambda: invoice_of(front, second["order"])))["node"] == "node-2"
        assert await back.stop() == 0


async def until(ask, seconds=20):
    async with asyncio.timeout(seconds):
        while not (found := await ask()):
            await asyncio.sleep(0.05)
    return found


async def test_the_command_reports(cluster, tmp_path):
    async with cluster("") as (shop,):
        _, order = await place(shop)
        await until(lambda: invoice_of(shop, order["order"]))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "nocohost",
        "shop",
        "report",
        env={"NOCOHOST_DATA_DIR": str(tmp_path), "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "1 orders, 1 invoices, 119.00 in total"
