"""Grouped writes: what concurrent tasks want written shares a statement and a commit, and each waits for the commit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from nocohost.api.errors import StoreError, StoreUnavailableError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

LIMIT = 500


class Grouped(Generic[ItemT, ResultT]):
    """Writes items by ``write``, which returns one result for each.

    Nothing waits for company: a lone item is written at once, by its own task, and what arrives while a write is under
    way goes out together with the next. An error is handed to every item of its write, save that a database which
    refuses a group is asked about each item alone, so that only the guilty one is told.
    """

    def __init__(self, write: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]]) -> None:
        self._write = write
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._is_writing = False
        self._flusher: asyncio.Task[None] | None = None

    async def put(self, item: ItemT) -> ResultT:
        """Return the result of writing ``item``, once it is committed."""
        if not self._is_writing:
            self._is_writing = True
            try:
                return (await self._write([item]))[0]
            finally:
                self._is_writing = False
                self._go_on()
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        return await future

    def _go_on(self) -> None:
        if self._waiting:
            self._is_writing = True
            self._flusher = asyncio.create_task(self._flush(), name="flush grouped writes")

    async def _flush(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:LIMIT], self._waiting[LIMIT:]
                # Who was cancelled while waiting gets nothing written.
                await self._write_group([(item, future) for item, future in group if not future.done()])
        finally:
            self._is_writing = False

    async def _write_group(self, group: Sequence[tuple[ItemT, "asyncio.Future[ResultT]"]]) -> None:
        if not group:
            return
        try:
            results = await self._write([item for item, _ in group])
        except StoreError as error:
            if len(group) > 1 and not isinstance(error, StoreUnavailableError):
                for one in group:
                    await self._write_group([one])
                return
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - the fence around a batch: every waiter gets the error
            _fail(group, error)
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(group: Sequence[tuple[ItemT, "asyncio.Future[ResultT]"]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
