"""Four real nodes race for the ticks of one database, while one is killed and one is frozen: each tick fires once."""

import asyncio
import signal
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select

from nocohost.api.schedule import Schedule
from nocohost.node.clock import SystemClock
from nocohost.queue.schedule_door import ScheduleDoor
from nocohost.store.database import open_database
from nocohost.store.schema import history, jobs, schedules, ticks
from nocohost.testing.cluster import ClusterNode, open_cluster

KEY = "shop:invoice"
MADE = (
    Schedule("second", KEY, {"order": 1}, interval_seconds=1, catch_up="all"),
    Schedule("lenient", KEY, {"order": 1}, interval_seconds=1, catch_up="skip"),
    Schedule("minute", KEY, {"order": 1}, cron="* * * * *", timezone="Europe/Berlin"),
)


async def trouble(nodes: list[ClusterNode]) -> None:
    """Kill the first node and freeze the second past its lease, while the others go on; then bring both back."""
    await asyncio.sleep(3)
    nodes[1].process.signal(signal.SIGSTOP)
    await nodes[0].kill()
    await asyncio.sleep(5)
    nodes[1].process.signal(signal.SIGCONT)
    await nodes[0].start()
    await asyncio.sleep(3)


async def test_each_tick_fires_once_while_nodes_die_and_freeze(migrated_url: Any, tmp_path: Any) -> None:
    url = migrated_url()
    database = open_database(url, clock=SystemClock(), log=structlog.get_logger())
    try:
        door = ScheduleDoor(database, lambda key, payload: payload)
        async with open_cluster([KEY] * 4, tmp_path, {"NOCOHOST_DATABASE__URL": url}) as nodes:
            for schedule in MADE:
                await door.set(schedule)
            async with database.connect() as connection:
                begun = dict((await connection.execute(select(schedules.c.name, schedules.c.next_at))).all())
            await trouble(nodes)
            async with database.begin() as connection:
                await connection.execute(schedules.delete())
        async with database.connect() as connection:
            fired = (await connection.execute(select(ticks))).all()
            made = [*(await connection.scalars(select(jobs.c.id))), *(await connection.scalars(select(history.c.id)))]
    finally:
        await database.close()
    assert sorted(made) == sorted(tick.job_id for tick in fired), "a tick without its job, or a job without its tick"
    for name in ("second", "lenient"):
        found = sorted(tick.tick_at for tick in fired if tick.schedule == name)
        assert found == steps(begun[name], len(found)), f"{name}: a tick is missing or there twice"
        assert len(found) >= 10
    assert [tick.tick_at.second for tick in fired if tick.schedule == "minute"] in ([], [0])
    late = [(tick.fired_at - tick.tick_at).total_seconds() for tick in fired]
    assert min(late) >= 0, "a tick fired before its time"


def steps(first: datetime, count: int) -> list[datetime]:
    return [first + timedelta(seconds=number) for number in range(count)]
