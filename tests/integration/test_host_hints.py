"""Nodes that wake, signal and lock each other, on a clock that stands still: nothing here can be the work of a poll."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest

from nocohost.api.errors import LockTimeoutError
from nocohost.testing.node import TestNode

NodeFactory = Callable[..., AbstractAsyncContextManager[TestNode]]
ORDER = {"customer": "Ada", "net": "100.00"}
PATIENCE_SECONDS = 20.0


async def test_an_order_wakes_the_node_that_makes_the_invoice(node: NodeFactory) -> None:
    async with node("shop:invoice", NOCOHOST_NODE_NAME="back") as back, node("!") as front:
        await back.settled()
        async with aiohttp.ClientSession(front.url, headers=front.headers) as session:
            async with session.post("/shop/orders", json=ORDER) as answer:
                order = (await answer.json())["order"]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    async with session.get(f"/shop/orders/{order}/invoice") as answer:
                        if answer.status == 200:
                            assert (await answer.json())["node"] == "back"
                            break
                    await asyncio.sleep(0.01)


async def test_a_job_retried_by_hand_wakes_the_node_that_serves_it(node: NodeFactory) -> None:
    async with node("!") as front, aiohttp.ClientSession(front.url, headers=front.headers) as session:
        async with session.post("/shop/orders", json=ORDER) as answer:
            job = f"/api/v1/jobs/{(await answer.json())['job']}"
        async with session.post(f"{job}/cancel") as answer:
            assert (await answer.json())["state"] == "cancelled"
        async with node("shop:invoice") as back:
            await back.settled()
            async with session.post(f"{job}/retry") as answer:
                assert answer.status == 200
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    async with session.get(job) as answer:
                        if (await answer.json())["state"] == "succeeded":
                            break
                    await asyncio.sleep(0.01)


async def test_signals_and_locks_are_open_on_every_node(node: NodeFactory) -> None:
    async with node("shop:invoice") as back, node("!") as front:
        async with back.app.signals.listen("shop.prices") as signals:
            await front.app.signals.send("shop.prices", {"article": 7})
            assert await asyncio.wait_for(anext(signals), PATIENCE_SECONDS) == {"article": 7}

        async def take() -> int:
            async with back.app.locks.acquire("shop.export") as lock:
                return lock.fence

        async with front.app.locks.acquire("shop.export") as lock:
            with pytest.raises(LockTimeoutError):
                await back.app.locks.acquire("shop.export", wait_seconds=0).__aenter__()
            taking = asyncio.create_task(take())
            await asyncio.sleep(0.05)
            assert not taking.done()
        assert await asyncio.wait_for(taking, PATIENCE_SECONDS) == lock.fence + 1


async def test_a_node_that_stops_frees_the_locks_of_what_it_cancels(node: NodeFactory) -> None:
    async with node("!") as front:
        async with node("shop:invoice") as back:
            taken = asyncio.Event()

            async def hold() -> None:
                async with back.app.locks.acquire("shop.export"):
                    taken.set()
                    await asyncio.Event().wait()

            holding = asyncio.create_task(hold())
            await taken.wait()
            holding.cancel()
        async with front.app.locks.acquire("shop.export", wait_seconds=0) as lock:
            assert lock.fence == 2
        assert holding.cancelled()
