"""Imports without a node around them: the kind's own code, a database, and a task that is a plain object."""

import asyncio
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select

from builtin_plugins.async_task import RowError, TaskResult
from builtin_plugins.exchange.import_form import ImportParams
from builtin_plugins.exchange.importing import run
from nocohost.child.hop import Hop
from nocohost.child.twin_resources import TwinResources
from nocohost.store.blocking import BlockingDatabase
from nocohost.store.database import SqlDatabase


class PlainTask:
    """What ``run`` sees of a task; what a transaction saves is there after its commit."""

    def __init__(self, params: ImportParams, database: BlockingDatabase) -> None:
        self.params = params
        self.upload = "the file"
        self.checkpoint: Any = None
        self.errors: list[RowError] = []
        self.told: list[tuple[float, float | None, str]] = []
        self.dies_after: int | None = None
        """After so many transactions the process is killed, in the middle of the next one."""
        self.transactions = 0
        self._database = database
        self._saved: list[Any] = []
        self._added: list[RowError] = []

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self._saved, self._added = [], []
        with self._database.begin() as connection:
            yield connection
            if self.dies_after == self.transactions:
                raise KeyboardInterrupt
        self.transactions += 1
        self.errors += self._added
        if self._saved:
            self.checkpoint = self._saved[-1]

    def save_checkpoint(self, checkpoint: Any) -> None:
        self._saved.append(checkpoint)

    def add_row_errors(self, errors: Iterable[RowError]) -> int:
        self._added += errors
        return len(self.errors) + len(self._added)

    @property
    def row_errors(self) -> int:
        return len(self.errors)

    def cut_row_errors(self, count: int) -> None:
        del self.errors[count:]

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        self.told.append((done, total, unit))


class Desk:
    """Runs imports of files into the resources of one database."""

    def __init__(self, resources: Any, database: SqlDatabase) -> None:
        loop = asyncio.get_running_loop()
        self.database = database
        self.resources = resources
        self.blocking = BlockingDatabase(database, loop)
        self._twins = TwinResources(resources, self.blocking, Hop(loop))

    def task(self, resource: str, **params: Any) -> PlainTask:
        return PlainTask(ImportParams(resource=resource, **params), self.blocking)

    async def run(self, task: PlainTask, content: bytes) -> TaskResult:
        """Run one attempt of ``task`` over a file; without a checkpoint it begins without row errors."""
        if task.checkpoint is None:
            task.errors.clear()
        app = SimpleNamespace(
            resources=self._twins,
            database=self.blocking,
            storage=SimpleNamespace(open=lambda upload: io.BytesIO(content)),
        )
        return await asyncio.to_thread(run, task, app)

    async def load(self, content: str | bytes, resource: str = "shelf.books", **params: Any) -> dict[str, Any]:
        """Import a file in one attempt and return the value of its result."""
        raw = content.encode() if isinstance(content, str) else content
        return (await self.run(self.task(resource, **params), raw)).value

    async def rows(self, table: Any, *names: str) -> list[tuple[Any, ...]]:
        """Return what is in a table now, in the order of its first column."""
        columns = [table.c[name] for name in names]
        async with self.database.connect() as connection:
            return [tuple(row) for row in await connection.execute(select(*columns).order_by(columns[0]))]

    async def close(self) -> None:
        await asyncio.to_thread(self.blocking.close)
