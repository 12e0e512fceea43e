"""Schedules in whole nodes of ``nocohost.testing``: the clock that a test turns fires ticks."""

import aiohttp
from sqlalchemy import select

from nocohost import Schedule
from nocohost.store.schema import history, jobs, ticks

REPORT = Schedule("report", "shop:invoice", {"order": 1}, interval_seconds=600, catch_up="skip")


async def count_of(node, table=ticks):
    async with node.app.database.connect() as connection:
        return len((await connection.execute(select(table))).all())


async def test_the_clock_fires_each_tick_that_it_passes(node, clock):
    async with node("!,shop:invoice") as shop:
        await shop.app.schedules.set(REPORT)
        await shop.advance(599)
        assert await count_of(shop) == 0
        await shop.advance(1)
        assert await count_of(shop) == 1
        await shop.advance(3600)
        assert await count_of(shop) == await count_of(shop, history) == 7
        (view,) = await shop.app.schedules.list()
        assert view.last_at == clock.now()


async def test_neighbours_on_one_clock_fire_a_tick_once(node):
    async with node("shop:invoice") as first, node("shop:invoice") as second, node("!") as front:
        await front.app.schedules.set(REPORT)
        await second.advance(1800)
        assert await count_of(first) == await count_of(first, history) == 3


async def test_a_requests_node_alone_fires_nothing_and_the_next_node_catches_up(node, clock):
    async with node("!") as front:
        for catch_up in ("skip", "once", "all"):
            await front.app.schedules.set(
                Schedule(catch_up, "shop:invoice", {"order": 1}, interval_seconds=600, catch_up=catch_up)
            )
        await front.advance(3590)
        assert await count_of(front, jobs) == 0
        async with node("shop:invoice") as back:
            await back.settled()
            async with back.app.database.connect() as connection:
                fired = (await connection.scalars(select(ticks.c.schedule))).all()
    assert {name: fired.count(name) for name in ("skip", "once", "all")} == {"skip": 0, "once": 1, "all": 5}


async def test_a_daily_time_in_berlin_fires_once_a_day_across_the_change_of_clocks(node, clock):
    clock.advance(87 * 86_400)
    async with node("!,shop:invoice") as shop:
        await shop.app.schedules.set(
            Schedule("daily", "shop:invoice", {"order": 1}, cron="30 2 * * *", timezone="Europe/Berlin")
        )
        await shop.advance(5 * 86_400)
        async with shop.app.database.connect() as connection:
            found = (await connection.scalars(select(ticks.c.tick_at).order_by(ticks.c.tick_at))).all()
    assert [f"{tick:%m-%d %H:%M}" for tick in found] == [
        "03-29 01:30", "03-30 01:30", "03-31 01:00", "04-01 00:30", "04-02 00:30",
    ]  # fmt: skip


async def test_the_api_of_a_node_runs_and_pauses(node):
    async with node("!,shop:invoice") as shop:
        await shop.app.schedules.set(REPORT)
        async with aiohttp.ClientSession(shop.url, headers=shop.headers) as session:
            async with session.post("/api/v1/schedules/report/run") as answer:
                assert (answer.status, (await answer.json())["warnings"]) == (202, [])
            async with session.post("/api/v1/schedules/report/pause") as answer:
                assert (await answer.json())["state"] == "paused"
        await shop.advance(3600)
        assert (await count_of(shop), await count_of(shop, history)) == (0, 1)
