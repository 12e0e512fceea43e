"""The plugins of a starting node: activated in a thread, and their hooks counted."""

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from nocohost.api.errors import NocohostError, PluginLoadError
from nocohost.host.build import NodeParts
from nocohost.host.lifespans import drop, require
from nocohost.node.plugin_name import plugin_slug
from nocohost.plugins.activation import Activation, activate
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


def plugins_up(activation: Activation) -> dict[str, bool]:
    """Return for each installed plugin whether none of its entry points is quarantined here."""
    down = {state.plugin for state in activation.quarantined}
    return {state.plugin: state.plugin not in down for state in activation.entries}
