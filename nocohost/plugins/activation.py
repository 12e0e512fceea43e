"""Choose, load and check the entry points that this node's worker mode asks for. Nothing here starts work.

The gate stands in one place: an entry point that the mode does not cover is never imported, so no plugin can work under
a key that its node does not serve.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from nocohost.api.app import App
from nocohost.api.check import Check
from nocohost.api.errors import PluginError
from nocohost.api.log import Log
from nocohost.api.mode import WorkerMode
from nocohost.api.routes import Route
from nocohost.api.schedule import Schedule
from nocohost.api.service import Service
from nocohost.plugins.admission import Authenticator, Contribution, Door
from nocohost.plugins.catalogue import Catalogue
from nocohost.plugins.declarations import Declarations, log_failures
from nocohost.plugins.entry import (
    DECLARATIONS,
    EXTENSIONS,
    REQUESTS,
    SERVICES,
    CatalogueEntry,
    EntryState,
    State,
    Verdict,
)
from nocohost.plugins.fence import trace_of
from nocohost.plugins.hooks import NodeHooks
from nocohost.plugins.loading import Loader, is_imported
from nocohost.plugins.paths import clashes
from nocohost.plugins.verdicts import spread


@dataclass(frozen=True)
class Activation:
    """What is active on one node, and what became of everything else; a value, made by ``activate``."""

    mode: WorkerMode
    hooks: NodeHooks
    """The published hooks, as ``app.hooks``."""
    entries: tuple[EntryState, ...]
    """Every installed entry point, in the order of the catalogue."""
    contributions: Mapping[CatalogueEntry, Contribution] = field(repr=False)
    """What each active services, extensions and requests entry offers, in the order of activation."""

    @cached_property
    def services(self) -> Mapping[str, Service]:
        """Return the services of this node by key."""
        found = (one.service for one in self.contributions.values())
        return MappingProxyType({service.key: service for service in found if service is not None})

    @property
    def schedules(self) -> Sequence[tuple[CatalogueEntry, Sequence[Schedule]]]:
        """Return each active service with the schedules that it registers, which may be none."""
        return [(entry, one.schedules) for entry, one in self.contributions.items() if one.service is not None]

    @property
    def served_keys(self) -> frozenset[str]:
        """Return the keys that this node really serves: covered by the mode, and active."""
        return frozenset(self.services)

    @property
    def refused_keys(self) -> Mapping[str, str]:
        """Return the keys that the mode covers and this node does not serve, each with the reason."""
        return {
            state.entry.name: state.reason
            for state in self.entries
            if state.entry.group == SERVICES
            and state.state is not State.ACTIVE
            and state.entry.name not in self.services
            and self.mode.covers(state.entry.name)
        }

    @property
    def routes(self) -> Sequence[tuple[str, Route]]:
        """Return (plugin, route) pairs, by plugin; no two claim one method and path."""
        return [(one.plugin, route) for one in self.contributions.values() for route in one.routes]

    @property
    def authenticators(self) -> Sequence[tuple[str, Authenticator]]:
        """Return (plugin, function) pairs: the function takes a request and returns an awaitable of a principal."""
        order = [found.entry for found in self.hooks.implementations("authenticate_request")]
        offered = ((self.contributions[entry].plugin, self.contributions[entry].authenticator) for entry in order)
        return [(plugin, authenticator) for plugin, authenticator in offered if authenticator is not None]

    @property
    def checks(self) -> Sequence[Check]:
        """Return the health checks of the active plugins; their names begin with the plugin and a dot."""
        return [check for one in self.contributions.values() for check in one.checks]

    @property
    def lifespans(self) -> Sequence[tuple[CatalogueEntry, AbstractAsyncContextManager[None]]]:
        """Return what to enter before the first job or request, in this order, and to leave in reverse."""
        return [(entry, one.lifespan) for entry, one in self.contributions.items() if one.lifespan is not None]

    @property
    def quarantined(self) -> Sequence[EntryState]:
        """Return the entries that are at fault on this node."""
        return [state for state in self.entries if state.state is State.QUARANTINED]

    def quarantine(self, entry: CatalogueEntry, error: PluginError) -> "Activation":
        """Return this activation without ``entry`` and, when it is a service, without its extensions.

        For faults that show only later, as when ``node_lifespan`` raises. Their published hooks are gone at once.
        """
        verdicts = spread({entry: Verdict.of(error)}, [state.entry for state in self.entries])
        gone = {one: verdict for one, verdict in verdicts.items() if one in self.contributions}
        for one in gone:
            self.hooks.unregister(one)
        return Activation(
            mode=self.mode,
            hooks=self.hooks,
            entries=tuple(_demoted(state, gone.get(state.entry)) for state in self.entries),
            contributions=MappingProxyType({e: one for e, one in self.contributions.items() if e not in gone}),
        )


def activate(
    mode: WorkerMode,
    catalogue: Catalogue,
    declarations: Declarations,
    app: App,
    *,
    import_seconds: float,
    log: Log,
    hooks: NodeHooks | None = None,
) -> Activation:
    """Activate what ``mode`` covers, one entry point at a time, each import and each hook within ``import_seconds``.

    Services in the order of their keys, each followed by its extensions; then, where requests are served, the requests.
    Whatever an entry point does, the others go on; each one that is not active is logged with its reason. ``hooks``
    are ``declarations.node_hooks(log)``; give them when the app needs them before this returns. May take long: call
    it in a thread when an event loop must turn meanwhile.
    """
    run = _Run(
        catalogue,
        declarations,
        app,
        declarations.loader.limited_to(import_seconds),
        hooks or declarations.node_hooks(log),
    )
    run.activate(mode)
    entries = run.states()
    log_failures((state for state in entries if state.entry.group != DECLARATIONS), log)
    return Activation(mode, run.hooks, entries, MappingProxyType(run.contributions))


class _Run:
    """One activation while it is going on."""

    def __init__(
        self, catalogue: Catalogue, declarations: Declarations, app: App, loader: Loader, hooks: NodeHooks
    ) -> None:
        self.hooks = hooks
        self.contributions: dict[CatalogueEntry, Contribution] = {}
        self._catalogue = catalogue
        self._declarations = declarations
        self._loader = loader
        self._door = Door(app, loader, hooks, declarations.job_type)
        self._errors: dict[CatalogueEntry, PluginError] = {}

    def activate(self, mode: WorkerMode) -> None:
        for service in self._catalogue.in_group(SERVICES):
            if mode.covers(service.name):
                self._admit(service)
                if service in self.contributions:
                    for extension in self._catalogue.in_group(EXTENSIONS):
                        if extension.key == service.name:
                            self._admit(extension)
        if mode.serves_requests:
            for requests in self._catalogue.in_group(REQUESTS):
                self._admit(requests)
            self._part_routes()

    def states(self) -> tuple[EntryState, ...]:
        """Return what became of every installed entry point."""
        failed = {entry: Verdict.of(error) for entry, error in self._errors.items()}
        verdicts = spread({**self._declarations.verdicts, **failed}, self._catalogue.entries)
        declared = {state.entry: state for state in self._declarations.states}
        return tuple(
            declared.get(entry) or self._state(entry, verdicts.get(entry)) for entry in self._catalogue.entries
        )

    def _state(self, entry: CatalogueEntry, verdict: Verdict | None) -> EntryState:
        contribution = self.contributions.get(entry)
        state = State.INSTALLED if contribution is None else State.ACTIVE
        error = self._errors.get(entry)
        return EntryState(
            entry=entry,
            plugin=self._catalogue.plugin_of(entry),
            state=state if verdict is None else verdict.state,
            imported=is_imported(entry),
            reason="" if verdict is None else verdict.reason,
            code="" if verdict is None else verdict.error.code,
            import_seconds=self._loader.import_seconds(entry),
            trace="" if error is None else trace_of(error),
            hooks=() if contribution is None else contribution.hooks,
        )

    def _admit(self, entry: CatalogueEntry) -> None:
        if entry in self._declarations.verdicts:
            return
        try:
            self.contributions[entry] = self._door.admit(entry, self._catalogue.plugin_of(entry))
        except PluginError as error:
            self._errors[entry] = error

    def _part_routes(self) -> None:
        """Quarantine every requests entry that claims a method and path of another."""
        offered = {one.plugin: (entry, one.routes) for entry, one in self.contributions.items() if one.routes}
        errors = clashes({plugin: routes for plugin, (_, routes) in offered.items()})
        for plugin, error in errors.items():
            entry, _ = offered[plugin]
            self._errors[entry] = error
            self.hooks.unregister(entry)
            del self.contributions[entry]


def _demoted(state: EntryState, verdict: Verdict | None) -> EntryState:
    if verdict is None:
        return state
    return replace(
        state,
        state=verdict.state,
        reason=verdict.reason,
        code=verdict.error.code,
        trace=trace_of(verdict.error),
        hooks=(),
    )
