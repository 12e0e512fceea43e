"""The routes under ``/api/v1`` of the services that come with the host, asked for without a node."""

from collections.abc import Sequence

from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.api.routes import Route
from nocohost.host.app import NodeApp
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_identity
from nocohost.node.mode import parse_mode
from nocohost.node.settings import Settings
from nocohost.plugins.activation import activate
from nocohost.plugins.catalogue import Catalogue, catalogue_of
from nocohost.plugins.declarations import Declarations
from nocohost.plugins.returns import OWN_DISTRIBUTION


def described_routes(
    settings: Settings, catalogue: Catalogue, declarations: Declarations, log: Log
) -> Sequence[tuple[str, Route]]:
    """Return (plugin, route) pairs; nothing of other distributions is imported beyond its declarations."""
    own = catalogue_of(entry for entry in catalogue.entries if entry.distribution == OWN_DISTRIBUTION)
    mode: WorkerMode = parse_mode("!", declared=own.declared_keys).mode
    app = NodeApp(
        mode=mode,
        node=new_identity(settings.node_name),
        clock=SystemClock(),
        log=log,
        declared=declarations,
        keys=catalogue.declared_keys,
        external_keys=settings.external_keys,
    )
    hooks = declarations.node_hooks(log)
    app.offer(hooks)
    activation = activate(mode, own, declarations, app, import_seconds=settings.import_seconds, log=log, hooks=hooks)
    return activation.routes
