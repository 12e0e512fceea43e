"""The plugins of a starting node: activated in a thread, entered in order, and dropped when they fail late."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from nocohost.api.errors import NocohostError, PluginError, PluginLoadError, RequiredServiceError
from nocohost.host.build import NodeParts
from nocohost.node.plugin_name import plugin_slug
from nocohost.plugins.activation import Activation, activate
from nocohost.plugins.entry import CatalogueEntry

ENTER_SECONDS = 30.0
LEAVE_SECONDS = 5.0


async def activate_plugins(parts: NodeParts, unfit: Mapping[str, NocohostError]) -> Activation:
    """Load what the mode covers while the event loop turns; ``unfit`` are plugins whose schema does not fit.

    Raises ``RequiredServiceError`` when a required key that the mode covers is quarantined.
    """
    hooks = parts.declarations.node_hooks(parts.log)
    parts.app.offer(hooks)
    activation = await asyncio.to_thread(
        activate,
        parts.mode,
        parts.catalogue,
        parts.declarations,
        parts.app,
        import_seconds=parts.settings.import_seconds,
        log=parts.log,
        hooks=hooks,
    )
    reasons = {plugin_slug(plugin): error for plugin, error in unfit.items()}
    for entry, contribution in list(activation.contributions.items()):
        if reason := reasons.get(plugin_slug(contribution.plugin)):
            activation = drop(parts, activation, entry, PluginLoadError(str(reason)))
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


async def enter_lifespans(parts: NodeParts, activation: Activation, stack: AsyncExitStack) -> Activation:
    """Enter each ``node_lifespan`` within ``ENTER_SECONDS``; one that fails is dropped with its entry point."""
    for entry, lifespan in activation.lifespans:
        try:
            async with asyncio.timeout(ENTER_SECONDS):
                await lifespan.__aenter__()
        except TimeoutError:
            error = PluginLoadError(f"node_lifespan of {entry} did not begin within {ENTER_SECONDS:g} s")
            activation = drop(parts, activation, entry, error)
        except (Exception, SystemExit) as cause:
            parts.log.exception("lifespan.failed", entry=str(entry))
            error = PluginLoadError(f"node_lifespan raised {type(cause).__name__}: {cause}")
            activation = drop(parts, activation, entry, error)
        else:
            stack.push_async_callback(_leave, parts, entry, lifespan)
    return require(parts, activation)


def plugins_up(activation: Activation) -> dict[str, bool]:
    """Return for each installed plugin whether none of its entry points is quarantined here."""
    down = {state.plugin for state in activation.quarantined}
    return {state.plugin: state.plugin not in down for state in activation.entries}


async def _leave(parts: NodeParts, entry: CatalogueEntry, lifespan: AbstractAsyncContextManager[None]) -> None:
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await lifespan.__aexit__(None, None, None)
    except TimeoutError:
        parts.log.error("lifespan.abandoned", entry=str(entry), seconds=LEAVE_SECONDS)
    except (Exception, SystemExit):
        parts.log.exception("lifespan.failed", entry=str(entry))
