"""The ``node_lifespan`` of each plugin, held in a task of its own: whatever it does there, the node goes on.

A context manager may hold cancel scopes and task groups, which must be left by the task that entered them. And only a
task can be left behind when it swallows its cancellation; what then becomes of it is ``Ending``'s business.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from nocohost.api.errors import PluginError, PluginLoadError, RequiredServiceError
from nocohost.api.log import Log
from nocohost.host.build import NodeParts
from nocohost.plugins.activation import Activation
from nocohost.plugins.entry import CatalogueEntry

ENTER_SECONDS = 30.0
LEAVE_SECONDS = 5.0


async def enter_lifespans(parts: NodeParts, activation: Activation, stack: AsyncExitStack) -> Activation:
    """Enter each ``node_lifespan``, to be left with ``stack``; one that fails is dropped with its entry point."""
    for entry, lifespan in activation.lifespans:
        held = HeldLifespan(entry, lifespan, parts.log)
        try:
            await held.enter()
        except PluginLoadError as error:
            activation = drop(parts, activation, entry, error)
        else:
            stack.push_async_callback(held.leave)
    return require(parts, activation)


def drop(parts: NodeParts, activation: Activation, entry: CatalogueEntry, error: PluginError) -> Activation:
    """Return the activation without ``entry``, and say so."""
    parts.log.error("plugin.quarantined", entry=str(entry), reason=str(error))
    return activation.quarantine(entry, error)


def require(parts: NodeParts, activation: Activation) -> Activation:
    """Return the activation unless it lacks a required key that the mode covers."""
    for key, reason in activation.refused_keys.items():
        job_type = parts.declarations.job_type(key)
        if job_type is not None and job_type.required:
            raise RequiredServiceError(f"the required service {key} cannot run here: {reason}")
    return activation


class HeldLifespan:
    """One ``node_lifespan``: entered once, left once."""

    def __init__(self, entry: CatalogueEntry, lifespan: AbstractAsyncContextManager[None], log: Log) -> None:
        self._entry = entry
        self._lifespan = lifespan
        self._log = log
        self._entered = asyncio.Event()
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[BaseException | None] | None = None

    async def enter(self, seconds: float = ENTER_SECONDS) -> None:
        """Enter it within ``seconds``; raises ``PluginLoadError`` when that fails, whatever the reason."""
        task = self._task = asyncio.create_task(self._hold(), name=f"lifespan of {self._entry.name}")
        entered = asyncio.create_task(self._entered.wait())
        try:
            await asyncio.wait([task, entered], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # it may have begun all the same, and then nobody else leaves it
            await (self.leave() if self._entered.is_set() else self._give_up(task))
            raise
        finally:
            entered.cancel()
        is_late = not (self._entered.is_set() or task.done())
        if not self._entered.is_set():
            await self._give_up(task)
        if self._entered.is_set():
            return
        error = self._outcome(task)
        if is_late or error is None:
            raise PluginLoadError(f"node_lifespan of {self._entry} did not begin within {seconds:g} s")
        raise PluginLoadError(f"node_lifespan raised {type(error).__name__}: {error}") from error

    async def leave(self, seconds: float = LEAVE_SECONDS) -> None:
        """Leave it within ``seconds``, or leave it behind; never raises for what the plugin does."""
        task = self._task
        assert task is not None
        self._leaving.set()
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            task.cancel()
            self._log.error("lifespan.abandoned", entry=str(self._entry), seconds=seconds)
        elif error := self._outcome(task):
            self._log.error("lifespan.failed", entry=str(self._entry), exc_info=error)

    async def _hold(self) -> BaseException | None:
        try:
            async with self._lifespan:
                self._entered.set()
                await self._leaving.wait()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the plugin-load fence; told twice
            return error
        return None

    async def _give_up(self, task: "asyncio.Task[BaseException | None]") -> None:
        is_ours = not task.done()
        if is_ours:
            task.cancel()
            await asyncio.wait([task], timeout=LEAVE_SECONDS)
        error = self._outcome(task)
        if error is not None and not (is_ours and task.cancelled()):
            self._log.error("lifespan.failed", entry=str(self._entry), exc_info=error)

    def _outcome(self, task: "asyncio.Task[BaseException | None]") -> BaseException | None:
        """Return what it raised; None when nothing, or when it does not end."""
        if not task.done():
            return None
        return asyncio.CancelledError("cancelled by its own code") if task.cancelled() else task.result()
