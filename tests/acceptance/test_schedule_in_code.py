"""A schedule that ships in a wheel: it fires from the start, and stops when a version without it is rolled out."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from plugins.misfit import HEAD
from plugins.wheels import Wheel
from sqlalchemy import select

from nocohost.node.clock import SystemClock
from nocohost.store.database import open_database
from nocohost.store.schedules import list_schedules
from nocohost.store.schema import history, ticks
from nocohost.testing.cluster import open_cluster


def ticker(version: str, schedules: str) -> Wheel:
    source = f"""
from nocohost import Schedule
@hookimpl
def register_services(app):
    return [Service("ticker:tick", handle), {schedules}]
"""
    files = {"ticker/__init__.py": "", "ticker/tick.py": HEAD + source}
    return Wheel("ticker", files, {"services": {"ticker:tick": "ticker.tick"}}, version=version)


FIRST = ticker("1.0", 'Schedule("ticker.second", "ticker:tick", {}, interval_seconds=1)')
SECOND = ticker("1.1", 'Schedule("ticker.daily", "ticker:tick", {}, cron="30 2 * * *", timezone="America/Santiago")')


async def until(ask: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await ask()):
            await asyncio.sleep(0.05)
    return found


async def test_a_schedule_comes_and_goes_with_its_wheel(
    install_wheels: Callable[..., Path], migrated_url: Callable[[], str], tmp_path: Path
) -> None:
    url = migrated_url()
    old, new = (
        {"PYTHONPATH": str(install_wheels([wheel])), "NOCOHOST_DATABASE__URL": url} for wheel in (FIRST, SECOND)
    )
    database = open_database(url, clock=SystemClock(), log=structlog.get_logger())

    async def names() -> list[str]:
        async with database.connect() as connection:
            return [row.name for row in (await list_schedules(connection)).items]

    async def done() -> bool:
        async with database.connect() as connection:
            jobs = set(await connection.scalars(select(history.c.id).where(history.c.state == "succeeded")))
            fired = set(await connection.scalars(select(ticks.c.job_id)))
        return len(jobs & fired) >= 2

    try:
        async with open_cluster(["ticker:tick"], tmp_path, old):
            assert await names() == ["ticker.second"]
            await until(done)
            async with open_cluster(["ticker:tick"], tmp_path, new):
                assert await names() == ["ticker.daily"]
    finally:
        await database.close()
