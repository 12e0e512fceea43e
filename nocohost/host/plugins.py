"""The plugins of a starting node: activated in a thread, entered in order, and dropped when they fail late."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from nocohost.api.errors import NocohostError, PluginError, PluginLoadError, RequiredServiceError
from nocohost.host.build import NodeParts
from nocohost.host.lifespans import HeldLifespan
from nocohost.node.plugin_name import plugin_slug
from nocohost.plugins.activation import Activation, activate
from nocohost.plugins.entry import CatalogueEntry
from nocohost.web.metrics import HookMetrics


async def activate_plugins(
    parts: NodeParts, unfit: Mapping[str, NocohostError], registry: CollectorRegistry
) -> Activation:
    """Load what the mode covers while the event loop turns; ``unfit`` are plugins whose schema does not fit.

    The calls of published hooks are counted in ``registry``. Raises ``RequiredServiceError`` when a required key that
    the mode covers is quarantined.
    """
    hooks = parts.declarations.node_hooks(parts.log)
    hooks.observe = HookMetrics(registry).observe
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


def plugins_up(activation: Activation) -> dict[str, bool]:
    """Return for each installed plugin whether none of its entry points is quarantined here."""
    down = {state.plugin for state in activation.quarantined}
    return {state.plugin: state.plugin not in down for state in activation.entries}
