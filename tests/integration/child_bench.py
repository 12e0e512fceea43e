"""A node's rooms for tests, and the jobs to run in its children."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, update

from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.host.build import build_node
from nocohost.host.rooms import Rooms
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_claim_id, new_id
from nocohost.node.mode import parse_mode
from nocohost.node.settings import load_settings
from nocohost.plugins.catalogue import read_catalogue
from nocohost.queue.claim import HeldClaim
from nocohost.store.schema import jobs

PLAIN, AWAITED, FAULTY = "acrobat:plain", "acrobat:async", "acrobat:faulty"


def perform(job: Any) -> None:
    """What the node knows of the handler: it runs elsewhere."""


class Bench:
    """A node's rooms, and the jobs to run in them."""

    def __init__(self, url: str, folder: Path, log: Log, spares: int = 0, keys: tuple[str, ...] = (PLAIN,)) -> None:
        environ = {"NOCOHOST_DATABASE__URL": url, "NOCOHOST_DATA_DIR": str(folder)}
        environ["NOCOHOST_QUEUE__SPARE_CHILDREN"] = str(spares)
        catalogue = read_catalogue()
        mode = parse_mode("*", declared=catalogue.declared_keys).mode
        self.parts = build_node(load_settings(environ).settings, catalogue, mode, clock=SystemClock(), log=log)
        self.database = self.parts.database
        services = {key: Service(key, perform, isolation="process") for key in keys}
        self.registry = CollectorRegistry()
        self.rooms = Rooms(self.parts, services, self.registry)
        self.room: Any = self.rooms.by_isolation["process"]
        self.notes = folder / "notes"

    async def run(
        self,
        do: str,
        key: str = PLAIN,
        *,
        memory_mib: int | None = None,
        isolation: Any = "process",
        crashes: int = 0,
        handler: Any = perform,
        **more: Any,
    ) -> Any:
        payload = {"do": do, "notes": str(self.notes), **more}
        order = replace(await self.claim(key, payload), crashes=crashes)
        job = Job(order.id, key, payload, claim=HeldClaim(self.database, order))
        return await self.room.run(Service(key, handler, isolation=isolation, memory_mib=memory_mib), job, order)

    async def claim(self, key: str, payload: dict[str, Any]) -> WorkOrder:
        job = await self.parts.make_queue().enqueue(key, payload)
        node, claim_id = new_id(), new_claim_id()
        running = {"state": "running", "claim_id": claim_id, "node_id": node, "fence": 7}
        async with self.database.begin() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job.id).values(**running))
        assert job.enqueued_at is not None
        return WorkOrder(job.id, key, payload, 2, 5, 7, claim_id, node, job.enqueued_at, "a group")

    async def take_over(self) -> None:
        """Let another attempt have every running job."""
        async with self.database.begin() as connection:
            await connection.execute(update(jobs).where(jobs.c.state == "running").values(claim_id=new_claim_id()))

    async def noted(self, word: str) -> int:
        """Wait until a handler has written ``word``; return the id of its process."""
        async with asyncio.timeout(30):
            while True:
                lines = [line.split() for line in self.notes.read_text().splitlines()] if self.notes.exists() else []
                for line in lines:
                    if line[0] == word:
                        return int(line[2])
                await asyncio.sleep(0.01)

    async def count(self) -> int:
        async with self.database.connect() as connection:
            return int(await connection.scalar(select(func.count()).select_from(jobs)) or 0)

    def measured(self, name: str, state: str) -> float:
        return self.registry.get_sample_value(name, {"state": state}) or 0.0


async def gone(pid: int, seconds: float) -> None:
    """Wait until there is no such process; raises ``TimeoutError``."""
    async with asyncio.timeout(seconds):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_benches(url: Callable[[], str], folder: Path, log: Log) -> AsyncIterator[Callable[..., Bench]]:
    """Make benches within the block, and end their children after it."""
    made: list[Bench] = []

    def make_bench(**options: Any) -> Bench:
        made.append(Bench(url(), folder, log, **options))
        return made[-1]

    yield make_bench
    for bench in made:
        await bench.rooms.close()
        await bench.parts.close()
