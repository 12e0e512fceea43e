"""Admits one entry point to a node: import, checks, registration, and the calls that ask what it offers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nocohost.api.app import App
from nocohost.api.check import Check
from nocohost.api.errors import PluginContractError, PluginError
from nocohost.api.principal import Principal
from nocohost.api.routes import Route
from nocohost.api.schedule import Schedule
from nocohost.api.service import JobType, Service
from nocohost.plugins import returns
from nocohost.plugins.contract import check_implementations, require_hooks
from nocohost.plugins.entry import SERVICES, CatalogueEntry
from nocohost.plugins.hooks import NodeHooks, Registered
from nocohost.plugins.lifespan import Lifespan
from nocohost.plugins.loading import Loader
from nocohost.plugins.schedules import check_schedule

if TYPE_CHECKING:
    from aiohttp.web import Request

T = TypeVar("T")
Authenticator = Callable[["Request"], Awaitable[Principal | None]]
"""``authenticate_request`` of one plugin, with the app already handed in."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one active entry point adds to the node."""

    entry: CatalogueEntry
    plugin: str
    hooks: tuple[str, ...]
    service: Service | None = None
    schedules: tuple[Schedule, ...] = ()
    routes: tuple[Route, ...] = ()
    checks: tuple[Check, ...] = ()
    authenticator: Authenticator | None = None
    lifespan: Lifespan | None = None


class Door:
    """Where the entry points of one node come in, one at a time."""

    def __init__(self, app: App, loader: Loader, hooks: NodeHooks, job_type: Callable[[str], JobType | None]) -> None:
        self._app = app
        self._job_type = job_type
        self._loader = loader
        self._hooks = hooks

    def admit(self, entry: CatalogueEntry, plugin: str) -> Contribution:
        """Load ``entry``, check it, register its hooks, and return what it offers.

        Raises ``PluginError`` when it cannot be admitted; then nothing of it is left but its imported modules.
        """
        loaded = self._loader.examine(entry)
        standing = self._loader.call(
            lambda: check_implementations(loaded.value, loaded.implementations, entry.group, self._hooks.known),
            entry,
            doing="check",
        )
        hooks = tuple(implementation.hook for implementation in standing)
        if entry.group == SERVICES and "register_services" not in hooks:
            raise PluginContractError("it implements no register_services", hint="a services entry offers one Service")
        require_hooks(loaded.implementations)
        self._hooks.register(entry, plugin, standing)
        try:
            return self._ask(Contribution(entry, plugin, hooks))
        except PluginError:
            self._hooks.unregister(entry)
            raise

    def _ask(self, contribution: Contribution) -> Contribution:
        entry, app = contribution.entry, self._app
        if found := self._hooks.implementation("register_services", entry):
            service, schedules = self._call(found, lambda value: self._offer(value, entry.name))
            contribution = replace(contribution, service=service, schedules=schedules)
        if found := self._hooks.implementation("serve_requests", entry):
            contribution = replace(
                contribution, routes=self._call(found, lambda value: returns.routes(value, entry.distribution))
            )
        if found := self._hooks.implementation("register_checks", entry):
            checks = self._call(found, returns.checks)
            named = (replace(check, name=f"{contribution.plugin}.{check.name}") for check in checks)
            contribution = replace(contribution, checks=tuple(named))
        if found := self._hooks.implementation("authenticate_request", entry):
            contribution = replace(contribution, authenticator=_authenticator(found, app))
        if found := self._hooks.implementation("node_lifespan", entry):
            contribution = replace(contribution, lifespan=Lifespan(found, app))
        return contribution

    def _offer(self, value: object, key: str) -> tuple[Service, tuple[Schedule, ...]]:
        service, schedules = returns.offer(value, key)
        for schedule in schedules:
            check_schedule(schedule, self._app, self._job_type)
        return service, schedules

    def _call(self, found: Registered, check: Callable[[object], T]) -> T:
        call = found.bind(app=self._app)
        return self._loader.call(lambda: check(call()), found.entry, doing=getattr(found.function, "__name__", "hook"))


def _authenticator(found: Registered, app: App) -> Authenticator:
    def authenticate(request: "Request") -> Any:
        return found.bind(app=app, request=request)()

    return authenticate
