"""Exports without a node around them: the kind's own code, a database, a storage, and a task that is a plain object."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from builtin_plugins.exchange.export_form import ExportParams
from builtin_plugins.exchange.exporting import run
from nocohost.api.storage import StoredFile
from nocohost.child.hop import Hop
from nocohost.child.twin_resources import TwinResources
from nocohost.child.twin_storage import TwinStorage
from nocohost.node.clock import SystemClock
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.blocking import BlockingDatabase
from nocohost.store.database import SqlDatabase


class PlainTask:
    """What ``run`` sees of a task."""

    def __init__(self, params: ExportParams) -> None:
        self.params = params
        self.owner = "ann"
        self.told: list[tuple[float, float | None, str]] = []
        self.on_progress = lambda done: None

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        self.told.append((done, total, unit))
        self.on_progress(done)


class Desk:
    """Exports the resources of one database, and reads the files."""

    def __init__(self, resources: Any, database: SqlDatabase, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        hop = Hop(loop)
        self.storage = FileStorage(database, shelves_for(None, database, folder), max_file_mib=1024)
        self.blocking = BlockingDatabase(database, loop)
        self.app: Any = SimpleNamespace(
            resources=TwinResources(resources, self.blocking, hop),
            database=self.blocking,
            storage=TwinStorage(self.storage, self.blocking, hop),
            clock=SystemClock(),
        )

    def task(self, resource: str = "shelf.books", **params: Any) -> PlainTask:
        return PlainTask(ExportParams(resource=resource, **params))

    async def run(self, task: PlainTask) -> tuple[StoredFile, bytes, Any]:
        """Run one attempt; return the file, what it holds, and what was told of it."""
        result = await asyncio.to_thread(run, task, self.app)
        file = await self.storage.find(result.file)
        assert file is not None
        return file, b"".join([piece async for piece in self.storage.read(file.id)]), result.value

    async def export(self, resource: str = "shelf.books", **params: Any) -> bytes:
        """Return what the file of an export holds."""
        return (await self.run(self.task(resource, **params)))[1]

    async def close(self) -> None:
        await asyncio.to_thread(self.blocking.close)
