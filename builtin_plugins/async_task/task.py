"""A task as its kind sees it: what it is to do, and what it may write while it does it."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builtin_plugins.async_task.pace import Pace
from builtin_plugins.async_task.row_error import RowError
from builtin_plugins.async_task.statements import (
    count_errors,
    cut_errors,
    store_checkpoint,
    store_errors,
    store_progress,
)
from nocohost import PayloadError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from nocohost import App, BlockingApp, BlockingJob, Job

CHANGED = "async_task.changed"
"""The topic of the signal that a task has changed; its payload names the task."""
CHECKPOINT_BYTES = 64 * 1024


@dataclass(frozen=True)
class TaskOrder:
    """What a task is to do; a value."""

    id: str
    kind: str
    params: Any
    """The model of the kind's form."""
    owner: str
    """Id of the principal who started it."""
    title: str
    upload: str | None
    """Id of the file in ``app.storage`` that came with it."""
    upload_name: str | None
    """What its owner calls that file; not to be trusted."""
    attempt: int
    """Counted from 1; another one goes on from the checkpoint of the one before."""
    checkpoint: Any
    """The JSON value that an earlier attempt saved last, None without one."""
    row_errors: int
    """How many earlier attempts have added."""
    most_row_errors: int
    """So many are kept; more are only counted."""


class _Handle:
    """What both kinds of task have: the order, by its fields, and the pace of this attempt."""

    def __init__(self, order: TaskOrder) -> None:
        self.order = order
        self._pace = Pace()
        self._is_news = False
        """Progress has been stored that nobody was told of."""

    @property
    def id(self) -> str:
        """Return the id of the task."""
        return self.order.id

    @property
    def kind(self) -> str:
        """Return its kind."""
        return self.order.kind

    @property
    def params(self) -> Any:
        """Return its params, as the model of the kind's form."""
        return self.order.params

    @property
    def owner(self) -> str:
        """Return the id of the principal who started it."""
        return self.order.owner

    @property
    def title(self) -> str:
        """Return what its owner calls it."""
        return self.order.title

    @property
    def upload(self) -> str | None:
        """Return the id of the file in ``app.storage`` that came with it."""
        return self.order.upload

    @property
    def upload_name(self) -> str | None:
        """Return what its owner calls that file; not to be trusted."""
        return self.order.upload_name

    @property
    def attempt(self) -> int:
        """Return which attempt this is, counted from 1."""
        return self.order.attempt

    @property
    def checkpoint(self) -> Any:
        """Return the JSON value that an earlier attempt saved last; None without one."""
        return self.order.checkpoint

    @property
    def row_errors(self) -> int:
        """Return how many row errors earlier attempts have added."""
        return self.order.row_errors


class BlockingTask(_Handle):
    """A task, as the plain ``run`` of its kind sees it.

    Once the task is cancelled, its time over or its node about to stop, ``cancel_requested`` is true and every other
    call raises ``AttemptCancelledError``, which ``run`` lets pass.
    """

    def __init__(self, order: TaskOrder, job: "BlockingJob", app: "BlockingApp") -> None:
        super().__init__(order)
        self._job = job
        self._app = app
        self._open: Connection | None = None

    @property
    def cancel_requested(self) -> bool:
        """Tell whether this attempt should end."""
        return self._job.cancel_requested

    @contextmanager
    def transaction(self) -> "Iterator[Connection]":
        """Open a database transaction that commits only while this attempt holds the task: one attempt, one effect.

        ``FenceLostError`` is raised instead when the task has moved on to another attempt. What the methods below
        write within the block belongs to it: rows, their checkpoint and their row errors are there together, or not.
        """
        with self._job.transaction() as connection:
            self._open = connection
            try:
                yield connection
            finally:
                self._open = None
        self._tell()

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Tell how far the task is; call it as often as you like, it is stored twice a second at most."""
        told = self._pace.step(*checked_progress(done, total, unit), self._app.clock.monotonic())
        if told is not None:
            with self._writing() as connection:
                connection.execute(store_progress(self.id, told))
            self._is_news = True
            if self._open is None:
                self._tell()

    def save_checkpoint(self, checkpoint: Any) -> None:
        """Save where another attempt is to start: a JSON value of at most 64 KiB.

        With None it starts anew, without row errors; with anything else it has those of all attempts before.
        """
        statement = store_checkpoint(self.id, checked_checkpoint(checkpoint))
        with self._writing() as connection:
            connection.execute(statement)

    def add_row_errors(self, errors: Iterable[RowError]) -> int:
        """Add to the row errors of the task, and return how many it has; past a bound they are only counted."""
        found = list(errors)
        with self._writing() as connection:
            counted = connection.execute(count_errors(self.id, len(found))).scalar_one()
            for statement, rows in store_errors(self.id, found, counted, self.order.most_row_errors):
                connection.execute(statement, rows)
        return int(counted)

    def cut_row_errors(self, count: int) -> None:
        """Leave the task its first ``count`` row errors: those after its checkpoint, this attempt finds again."""
        with self._writing() as connection:
            for statement in cut_errors(self.id, count):
                connection.execute(statement)

    def _tell(self) -> None:
        """Tell whoever watches, once what they will look at is committed."""
        if self._is_news:
            self._is_news = False
            self._app.wait(self._app.signals.send(CHANGED, {"id": self.id}))

    @contextmanager
    def _writing(self) -> "Iterator[Connection]":
        if self._open is not None:
            yield self._open
        else:
            with self._job.transaction() as connection:
                yield connection


class Task(_Handle):
    """A task, as the ``async`` ``run`` of its kind sees it; see ``BlockingTask`` for what each method promises."""

    def __init__(self, order: TaskOrder, job: "Job", app: "App") -> None:
        super().__init__(order)
        self._job = job
        self._app = app
        self._open: AsyncConnection | None = None

    @property
    def cancel_requested(self) -> bool:
        """Tell whether somebody asked to cancel the task."""
        return self._job.cancel_requested

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[AsyncConnection]":
        """Open a database transaction that commits only while this attempt holds the task."""
        async with self._job.transaction() as connection:
            self._open = connection
            try:
                yield connection
            finally:
                self._open = None
        await self._tell()

    async def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Tell how far the task is; it is stored twice a second at most."""
        told = self._pace.step(*checked_progress(done, total, unit), self._app.clock.monotonic())
        if told is not None:
            async with self._writing() as connection:
                await connection.execute(store_progress(self.id, told))
            self._is_news = True
            if self._open is None:
                await self._tell()

    async def save_checkpoint(self, checkpoint: Any) -> None:
        """Save where another attempt is to start: a JSON value of at most 64 KiB."""
        statement = store_checkpoint(self.id, checked_checkpoint(checkpoint))
        async with self._writing() as connection:
            await connection.execute(statement)

    async def add_row_errors(self, errors: Iterable[RowError]) -> int:
        """Add to the row errors of the task, and return how many it has; past a bound they are only counted."""
        found = list(errors)
        async with self._writing() as connection:
            counted = (await connection.execute(count_errors(self.id, len(found)))).scalar_one()
            for statement, rows in store_errors(self.id, found, counted, self.order.most_row_errors):
                await connection.execute(statement, rows)
        return int(counted)

    async def cut_row_errors(self, count: int) -> None:
        """Leave the task its first ``count`` row errors."""
        async with self._writing() as connection:
            for statement in cut_errors(self.id, count):
                await connection.execute(statement)

    async def _tell(self) -> None:
        if self._is_news:
            self._is_news = False
            await self._app.signals.send(CHANGED, {"id": self.id})

    @asynccontextmanager
    async def _writing(self) -> "AsyncIterator[AsyncConnection]":
        if self._open is not None:
            yield self._open
        else:
            async with self._job.transaction() as connection:
                yield connection


def checked_progress(done: float, total: float | None, unit: str) -> tuple[float, float | None, str]:
    """Return the progress if it is one; raises ``PayloadError``."""
    for number in (done, total):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float) or number < 0):
            raise PayloadError(f"progress {number!r} is no number of anything", code="task.progress")
    return done, total, str(unit)[:40]


def checked_checkpoint(checkpoint: Any) -> Any:
    """Return the checkpoint if it is JSON and not too large; raises ``PayloadError``."""
    try:
        size = len(json.dumps(checkpoint, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"the checkpoint is no JSON: {error}", code="task.checkpoint") from error
    if size > CHECKPOINT_BYTES:
        raise PayloadError(
            f"the checkpoint has {size} bytes, at most {CHECKPOINT_BYTES}",
            code="task.checkpoint",
            hint="keep the data in a table or a file, and the place where it goes on in the checkpoint",
        )
    return checkpoint
