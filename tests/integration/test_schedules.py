"""Schedules in the database: set, fired, paused; however many nodes race, a tick makes one job. On both databases."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from integration.queue_bench import KEY, LOG, make_queue
from pydantic import BaseModel
from sqlalchemy import delete, event, func, select, update

from nocohost.api.clock import Clock
from nocohost.api.errors import JobConflictError, PayloadError, ScheduleNotFoundError, UnknownKeyError
from nocohost.api.schedule import Schedule
from nocohost.api.service import JobType
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_id
from nocohost.queue.coded_schedules import CodedSchedules
from nocohost.queue.schedule import LOOK_SECONDS, ScheduleLoop
from nocohost.queue.schedule_door import ScheduleDoor
from nocohost.queue.sweep import Upkeep
from nocohost.store.database import SqlDatabase, open_database
from nocohost.store.schedules import (
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    schedule_json,
)
from nocohost.store.schema import jobs, schedules, ticks
from nocohost.store.types import db_after, db_now
from nocohost.testing.clock import FakeClock

OTHER = "shop:mail"


class Report(BaseModel):
    month: int
    draft: bool = False


TYPES = (JobType(KEY, payload=Report, priority=7), JobType(OTHER))


def make_door(database: SqlDatabase) -> ScheduleDoor:
    return ScheduleDoor(database, make_queue(database, *TYPES).checked)


def make_loop(
    database: SqlDatabase, *keys: str, fired: list[str] | None = None, clock: Clock | None = None
) -> ScheduleLoop:
    coded = CodedSchedules(database, new_id(), [], make_queue(database, *TYPES).checked, log=LOG)
    types = {one.key: one for one in TYPES}
    seen: list[str] = [] if fired is None else fired
    return ScheduleLoop(
        database, keys or (KEY,), coded, types.get, clock=clock or SystemClock(), log=LOG, on_fired=seen.append
    )


def nightly(name: str = "nightly", key: str = KEY, **more: Any) -> Schedule:
    times = {"interval_seconds": 3600} if "cron" not in more and "interval_seconds" not in more else {}
    return Schedule(name, key, more.pop("payload", {"month": 5}), **times, **more)


async def now_of(database: SqlDatabase) -> datetime:
    async with database.connect() as connection:
        return (await connection.execute(select(db_now()))).scalar_one()


async def wait_for(database: SqlDatabase, name: str, seconds: float) -> None:
    """Let the schedule wait for the tick of so many seconds ago, as if nobody had served since."""
    async with database.begin() as connection:
        now = (await connection.execute(select(db_now()))).scalar_one()
        step = (await get_schedule(connection, name)).interval_seconds
        assert step is not None
        at = datetime.fromtimestamp((now.timestamp() - seconds) // step * step, UTC)
        await connection.execute(update(schedules).where(schedules.c.name == name).values(next_at=at))


async def jobs_of(database: SqlDatabase) -> list[Any]:
    async with database.connect() as connection:
        return list(await connection.execute(select(jobs).order_by(jobs.c.id)))


async def ticks_of(database: SqlDatabase) -> list[Any]:
    async with database.connect() as connection:
        return list(await connection.execute(select(ticks).order_by(ticks.c.schedule, ticks.c.tick_at)))


async def row_of(database: SqlDatabase, name: str = "nightly") -> Any:
    async with database.connect() as connection:
        return await get_schedule(connection, name)


async def test_a_schedule_that_is_set_waits_for_its_next_tick(database: SqlDatabase) -> None:
    door = make_door(database)
    await door.set(nightly(cron="30 2 * * *", timezone="Europe/Berlin"))
    (view,) = await door.list()
    assert view.schedule == nightly(cron="30 2 * * *", timezone="Europe/Berlin", payload={"month": 5, "draft": False})
    assert (view.source, view.last_at) == ("database", None)
    assert view.next_at is not None
    assert timedelta(0) < view.next_at - await now_of(database) <= timedelta(days=1, hours=1)
    assert await make_loop(database).turn() == LOOK_SECONDS
    assert await jobs_of(database) == []


async def test_a_tick_that_has_come_makes_one_job_and_the_next_is_waited_for(database: SqlDatabase) -> None:
    await make_door(database).set(nightly(catch_up="once"))
    await wait_for(database, "nightly", 0)
    waiting = (await row_of(database)).next_at
    fired: list[str] = []
    loop = make_loop(database, fired=fired)
    await loop.turn()
    await loop.turn()
    (job,) = await jobs_of(database)
    assert (job.key, job.payload, job.priority, job.state) == (KEY, {"month": 5, "draft": False}, 7, "pending")
    (tick,) = await ticks_of(database)
    assert (tick.schedule, tick.tick_at, tick.job_id) == ("nightly", waiting, job.id)
    row = await row_of(database)
    assert (row.last_at, row.next_at) == (waiting, waiting + timedelta(hours=1))
    assert fired == [KEY]


@pytest.mark.parametrize(("catch_up", "count"), [("skip", 0), ("once", 1), ("all", 6)])
async def test_what_becomes_of_ticks_that_passed(database: SqlDatabase, catch_up: Any, count: int) -> None:
    await make_door(database).set(nightly(interval_seconds=86_400, catch_up=catch_up))
    await wait_for(database, "nightly", 5 * 86_400)
    now = await now_of(database)
    if now.hour == 0:
        pytest.skip("within an hour of midnight in UTC, the latest tick is not yet too late")
    await make_loop(database).turn()
    assert len(await jobs_of(database)) == count
    row = await row_of(database)
    assert row.next_at > now
    assert (row.last_at is None) == (count == 0)


async def test_a_job_is_asked_for_the_tick_that_it_was_made_for(database: SqlDatabase) -> None:
    door = make_door(database)
    for name in ("nightly", "other"):
        await door.set(nightly(name, catch_up="all"))
        await wait_for(database, name, 5 * 3600)
    await make_loop(database).turn()
    found = await ticks_of(database)
    assert len({tick.tick_at for tick in found if tick.schedule == "nightly"}) >= 5
    for tick in found:
        assert await door.tick_of(tick.schedule, tick.job_id) == tick.tick_at
    assert await door.tick_of("other", found[0].job_id) is None
    assert await door.tick_of("nightly", new_id()) is None


async def test_more_ticks_than_a_page_holds_fire_one_each(database: SqlDatabase) -> None:
    await make_door(database).set(nightly(interval_seconds=1, catch_up="all"))
    await wait_for(database, "nightly", 450)
    await make_loop(database).turn()
    found = [tick.tick_at for tick in await ticks_of(database)]
    assert found == [found[0] + timedelta(seconds=number) for number in range(len(found))]
    assert len(found) == len(await jobs_of(database)) in range(451, 456)


async def test_many_schedules_fire_in_pages(database: SqlDatabase) -> None:
    door = make_door(database)
    for number in range(120):
        await door.set(nightly(f"report-{number:03}", catch_up="once"))
    async with database.begin() as connection:
        await connection.execute(update(schedules).values(next_at=schedules.c.changed_at))
    await make_loop(database).turn()
    assert len({tick.schedule for tick in await ticks_of(database)}) == len(await jobs_of(database)) == 120


async def test_nodes_that_race_make_one_job_for_each_tick(database: SqlDatabase) -> None:
    door = make_door(database)
    for number in range(8):
        await door.set(nightly(f"report-{number}", interval_seconds=1, catch_up="all"))
        await wait_for(database, f"report-{number}", 50)
    loops = [make_loop(database) for _ in range(6)]
    for _ in range(5):
        await asyncio.gather(*(loop.turn() for loop in loops))
    found = await ticks_of(database)
    assert len(found) == len({(tick.schedule, tick.tick_at) for tick in found}) >= 8 * 50
    assert sorted(tick.job_id for tick in found) == [job.id for job in await jobs_of(database)]


async def test_a_tick_whose_row_is_there_never_fires_again(database: SqlDatabase) -> None:
    await make_door(database).set(nightly(catch_up="all"))
    await wait_for(database, "nightly", 3 * 3600)
    loop = make_loop(database)
    await loop.turn()
    count = len(await jobs_of(database))
    assert count == 4
    async with database.begin() as connection:
        await connection.execute(delete(jobs))
    await wait_for(database, "nightly", 3 * 3600)  # somebody has set the clock, or the row, back
    await loop.turn()
    assert await jobs_of(database) == []
    assert (await row_of(database)).next_at > await now_of(database)


async def test_the_tick_and_its_job_are_one_transaction(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_door(database).set(nightly(catch_up="once"))
    await wait_for(database, "nightly", 0)

    async def fail(*_: object) -> None:
        raise RuntimeError("the node dies here")

    monkeypatch.setattr("nocohost.store.ticks.insert_jobs", fail)
    with pytest.raises(RuntimeError):
        await make_loop(database).turn()
    assert await ticks_of(database) == []
    monkeypatch.undo()
    await make_loop(database).turn()
    assert len(await ticks_of(database)) == len(await jobs_of(database)) == 1


async def test_a_node_fires_only_what_it_serves(database: SqlDatabase) -> None:
    door = make_door(database)
    await door.set(nightly("mine", catch_up="once"))
    await door.set(nightly("theirs", OTHER, payload={}, catch_up="once"))
    for name in ("mine", "theirs"):
        await wait_for(database, name, 0)
    await make_loop(database, KEY).turn()
    assert [job.key for job in await jobs_of(database)] == [KEY]
    await make_loop(database, OTHER).turn()
    assert sorted(job.key for job in await jobs_of(database)) == [KEY, OTHER]


async def test_a_paused_schedule_rests_and_forgets_what_it_missed(database: SqlDatabase) -> None:
    await make_door(database).set(nightly(catch_up="all"))
    async with database.begin() as connection:
        paused = await pause_schedule(connection, "nightly")
        again = await pause_schedule(connection, "nightly")
    assert paused == again
    assert (paused.next_at, schedule_json(paused)["state"]) == (None, "paused")
    await make_door(database).set(nightly(interval_seconds=1, catch_up="all"))
    assert (await row_of(database)).next_at is None
    assert await make_loop(database).turn() == LOOK_SECONDS
    async with database.begin() as connection:
        resumed = await resume_schedule(connection, "nightly")
    assert resumed.paused_at is None
    assert timedelta(0) < resumed.next_at - await now_of(database) <= timedelta(seconds=1)


async def test_a_changed_schedule_counts_from_now_and_an_unchanged_one_keeps_its_tick(database: SqlDatabase) -> None:
    door = make_door(database)
    await door.set(nightly(catch_up="all"))
    await wait_for(database, "nightly", 7200)
    late = (await row_of(database)).next_at
    await door.set(nightly(catch_up="once", payload={"month": 6}))
    row = await row_of(database)
    assert (row.next_at, row.catch_up, row.payload["month"]) == (late, "once", 6)
    await door.set(nightly(interval_seconds=1800, catch_up="once"))
    assert (await row_of(database)).next_at > await now_of(database)


async def test_what_cannot_be_set_is_refused_and_leaves_nothing(database: SqlDatabase) -> None:
    door = make_door(database)
    with pytest.raises(UnknownKeyError, match="shop:invoise"):
        await door.set(nightly(key="shop:invoise"))
    with pytest.raises(PayloadError, match="month"):
        await door.set(nightly(payload={}))
    with pytest.raises(PayloadError, match="cron is '61"):
        await door.set(nightly(cron="61 * * * *"))
    with pytest.raises(PayloadError, match="time zone"):
        await door.set(nightly(cron="@daily", timezone="Mars/Base"))
    assert await door.list() == []
    assert await door.remove("nightly") is False
    async with database.begin() as connection:
        for operate in (pause_schedule, resume_schedule, get_schedule):
            with pytest.raises(ScheduleNotFoundError, match="nightly"):
                await operate(connection, "nightly")


async def test_a_removed_schedule_is_gone_and_may_come_back(database: SqlDatabase) -> None:
    door = make_door(database)
    await door.set(nightly(catch_up="once"))
    await wait_for(database, "nightly", 0)
    assert await door.remove("nightly") is True
    await make_loop(database).turn()
    assert await jobs_of(database) == []
    await door.set(nightly())
    assert len(await door.list()) == 1


async def test_pages_of_schedules_follow_each_other_by_name(database: SqlDatabase) -> None:
    door = make_door(database)
    for name in ("c", "a", "b/1", "b"):
        await door.set(nightly(name))
    async with database.connect() as connection:
        first = await list_schedules(connection, limit=2)
        second = await list_schedules(connection, limit=2, after=first.next)
        assert (await list_schedules(connection, key=OTHER)).items == []
    assert [row.name for row in (*first.items, *second.items)] == sorted(["a", "b", "b/1", "c"])
    assert second.next is None


async def test_a_zone_that_this_node_lacks_is_told_and_keeps_nobody_else_waiting(database: SqlDatabase) -> None:
    door = make_door(database)
    await door.set(nightly("odd", cron="@hourly", timezone="Europe/Berlin", catch_up="once"))
    await door.set(nightly("sound", catch_up="once"))
    async with database.begin() as connection:
        await connection.execute(update(schedules).values(next_at=db_after(-60)))
        await connection.execute(update(schedules).where(schedules.c.name == "odd").values(timezone="Mars/Base"))
    loop = make_loop(database)
    assert await loop.turn() > 0
    assert [tick.schedule for tick in await ticks_of(database)] == ["sound"]
    assert "no time zone" in schedule_json(await row_of(database, "odd"))["description"]


def statements_of(database: SqlDatabase) -> list[str]:
    """Every statement from here on."""
    seen: list[str] = []

    def note(*args: Any) -> None:
        if args[2] != "BEGIN":
            seen.append(args[2])

    for engine in (database._reading.sync_engine, database._engine.sync_engine):
        event.listen(engine, "before_cursor_execute", note)
    return seen


async def test_an_idle_look_is_one_statement(database: SqlDatabase) -> None:
    await make_door(database).set(nightly())
    loop = make_loop(database)
    await loop.turn()
    seen = statements_of(database)
    assert await loop.turn() == LOOK_SECONDS
    assert len(seen) == 1


async def until_asleep(clock: FakeClock) -> None:
    """Wait until the loop waits for time to pass."""
    async with asyncio.timeout(30):
        while all(woken.done() for _, _, woken in clock._sleepers):
            await asyncio.sleep(0.001)


async def test_an_idle_loop_looks_every_ten_seconds_and_when_it_is_woken(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "idle.sqlite")
    clock = FakeClock()
    database = open_database(f"sqlite:///{tmp_path / 'idle.sqlite'}", clock=clock, log=LOG)
    await make_door(database).set(nightly(interval_seconds=86_400))
    loop = make_loop(database, clock=clock)
    running = asyncio.create_task(loop.run())
    try:
        await until_asleep(clock)
        seen = statements_of(database)
        for _ in range(100):
            clock.advance(1)
            await until_asleep(clock)
        # nine or ten looks, and one comparison of the code with the rows
        looks = len(seen)
        assert 9 <= looks <= 11
        loop.wake()
        async with asyncio.timeout(30):
            while len(seen) == looks:
                await asyncio.sleep(0.001)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()


async def test_the_loop_sleeps_until_the_very_tick(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "exact.sqlite")
    clock = FakeClock()
    database = open_database(f"sqlite:///{tmp_path / 'exact.sqlite'}", clock=clock, log=LOG)
    await make_door(database).set(nightly(interval_seconds=7))
    loop = make_loop(database, clock=clock)
    assert 0 < await loop.turn() <= 7
    clock.advance(await loop.turn() - 0.001)
    assert 0 < await loop.turn() <= 0.005
    assert await jobs_of(database) == []
    clock.advance(0.001)
    assert await loop.turn() == 7
    assert len(await jobs_of(database)) == 1
    await database.close()


async def test_rows_of_ticks_are_removed_after_a_day(database: SqlDatabase) -> None:
    async with database.begin() as connection:
        for number, fired_at in enumerate((db_after(-90_000), db_after(-3600))):
            tick_at = datetime(2026, 1, 1, number, tzinfo=UTC)
            values = {"schedule": "nightly", "tick_at": tick_at, "job_id": new_id(), "fired_at": fired_at}
            await connection.execute(ticks.insert().values(values))
    await Upkeep(database, clock=SystemClock(), log=LOG, history_seconds=60).turn()
    async with database.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(ticks)) == 1


async def test_a_name_in_code_is_not_set_from_outside(database: SqlDatabase) -> None:
    await make_door(database).set(nightly())
    async with database.begin() as connection:
        await connection.execute(update(schedules).values(source="code", owner=KEY))
    with pytest.raises(JobConflictError, match="code of shop:invoice"):
        await make_door(database).set(nightly())
