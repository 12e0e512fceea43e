"""A child at work: a work order from its node, a handler, an answer; and so on as long as the node wants more."""

import asyncio
import concurrent.futures
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

from nocohost.api.app import App
from nocohost.api.errors import NocohostError, PayloadError
from nocohost.api.job import DeadLetter, Job, Retry, Snooze
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.child.call import Raised, call_async, call_plain, is_async
from nocohost.child.channel import Channel
from nocohost.child.hop import Hop
from nocohost.child.limits import MIB, limit_memory, peak_bytes
from nocohost.child.messages import LINE_BYTES, Message, encode_outcome, read_order
from nocohost.child.twins import TwinApp, blocking_job
from nocohost.store.blocking import BlockingDatabase
from nocohost.store.database import SqlDatabase

TERMINATED = 128 + signal.SIGTERM
OUT_OF_MEMORY = 70


class Opened(NamedTuple):
    """What handlers are called with, beside their jobs, and what their twins need."""

    app: App
    database: SqlDatabase


class Ordered(NamedTuple):
    """The job of a work order, as its handler sees it."""

    job: Job
    request_cancel: Callable[[], None]
    """Makes ``job.cancel_requested`` true."""


class Stage(Protocol):
    """What the host has in a child."""

    def load(self, key: str) -> Service:
        """Return the service of ``key``, its entry points imported; raises ``PluginError``."""

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Open the app; raises ``NocohostError``."""

    async def enter(self, key: str) -> None:
        """Enter the lifespans of the key's entry points, once, to be left with ``open``; raises ``NocohostError``."""

    def ordered(self, order: WorkOrder) -> Ordered:
        """Return the job of a work order, within ``open``; raises ``PayloadError``."""

    def checked(self, value: Any) -> Any:
        """Return what a handler returned as JSON gives it back; raises ``PayloadError``."""


class Guest:
    """Serves work orders, one after the other; used once, in the main thread.

    Their handlers are of one kind, all ``async`` or all plain, for which the threads are dealt out.
    """

    def __init__(self, channel: Channel, stage: Stage) -> None:
        self._channel = channel
        self._stage = stage
        self._is_limited = False
        self._key = ""
        """That of the work order at hand."""

    def serve(self, said: Message) -> None:
        """Carry out the work order and answer it, and those that come after it, if it is not the last."""
        with _terminable(self._channel):
            try:
                service = self._stage.load(self._read(said).key)
                self._limit(said.fields["memory_mib"])
                if is_async(service):
                    asyncio.run(self._serve_async(said))
                else:
                    self._serve_plain(said)
            except NocohostError as error:  # not the handler's: those come back as values
                self._channel.send("refused", error=f"the child cannot serve {self._key}: {error}")
        self._channel.send("log", level="debug", event="child.done", peak_mib=round(peak_bytes() / MIB, 1))

    def _read(self, said: Message) -> WorkOrder:
        order = read_order(said.fields["order"])
        self._key = order.key
        return order

    def _limit(self, memory_mib: int | None) -> None:
        if memory_mib is not None:
            limit_memory(memory_mib)
            self._is_limited = True

    def _is_last(self, said: Message) -> bool:
        return bool(said.fields["is_last"]) or self._channel.is_cancelled

    def _next(self) -> Message | None:
        """Wait for the next work order; None when the node says that there is none."""
        said = self._channel.receive()
        return said if said.kind == "order" else None

    async def _serve_async(self, said: Message | None) -> None:
        """Run ``async`` handlers on an event loop in the main thread."""
        async with self._stage.open() as opened:
            while said is not None:
                await self._await(self._read(said), opened)
                said = None if self._is_last(said) else await asyncio.to_thread(self._next)

    async def _await(self, order: WorkOrder, opened: Opened) -> None:
        service = self._stage.load(order.key)
        await self._stage.enter(order.key)
        job, request_cancel = self._stage.ordered(order)
        handler = asyncio.create_task(call_async(service, job, opened.app), name=f"{order.key} {order.id}")
        loop = asyncio.get_running_loop()

        def cancel(requested: bool) -> None:
            if requested:
                request_cancel()
            loop.call_soon_threadsafe(handler.cancel)

        self._channel.send("started")
        self._channel.on_cancel(cancel)
        await asyncio.wait({handler})
        self._answer(Raised("the handler cancelled itself") if handler.cancelled() else handler.result())

    def _serve_plain(self, said: Message | None) -> None:
        """Run plain handlers in the main thread, where signals reach them, beside an event loop in another."""
        with _loop_thread() as loop, self._held(loop) as opened:
            while said is not None:
                self._call(self._read(said), opened, loop)
                said = None if self._is_last(said) else self._next()

    def _call(self, order: WorkOrder, opened: Opened, loop: asyncio.AbstractEventLoop) -> None:
        service = self._stage.load(order.key)
        asyncio.run_coroutine_threadsafe(self._stage.enter(order.key), loop).result()
        hop = Hop(loop)
        database = BlockingDatabase(opened.database, loop)
        job = blocking_job(self._stage.ordered(order).job, database, hop)
        self._channel.send("started")
        self._channel.on_cancel(lambda requested: hop.cancel())
        try:
            self._answer(call_plain(service, job, TwinApp(opened.app, database, hop)))
        finally:
            database.close()

    @contextmanager
    def _held(self, loop: asyncio.AbstractEventLoop) -> Iterator[Opened]:
        """Open the stage in one task of ``loop``, which leaves it too."""
        parts: concurrent.futures.Future[Opened] = concurrent.futures.Future()
        done = asyncio.Event()

        async def hold() -> None:
            async with self._stage.open() as opened:
                parts.set_result(opened)
                await done.wait()

        holder = asyncio.run_coroutine_threadsafe(hold(), loop)
        either: set[concurrent.futures.Future[Any]] = {parts, holder}
        concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
        if not parts.done():
            holder.result()
        try:
            yield parts.result()
        finally:
            loop.call_soon_threadsafe(done.set)
            holder.result()

    def _answer(self, outcome: Any) -> None:
        if isinstance(outcome, Raised) and outcome.is_memory and self._is_limited:
            self._channel.send("memory")
            os._exit(OUT_OF_MEMORY)
        if not isinstance(outcome, Raised | Retry | Snooze | DeadLetter):
            try:
                outcome = self._stage.checked(outcome)
            except PayloadError as error:
                outcome = Raised(f"{error.message}; return None, a JSON value, Retry, Snooze or DeadLetter")
        line = encode_outcome(outcome)
        if len(line) > LINE_BYTES:
            line = encode_outcome(
                Raised(f"what the handler returned has {len(line)} bytes; write it to a table or file")
            )
        self._channel.send_line(line)


@contextmanager
def _terminable(channel: Channel) -> Iterator[None]:
    """Within the block, let SIGTERM end the handler as ``sys.exit`` would if it was cancelled, else kill as ever."""

    def terminate(number: int, frame: object) -> None:
        if channel.is_cancelled:
            raise SystemExit(TERMINATED)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Turn an event loop in a daemon thread within the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="event loop", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1.0)
