"""Every hook a plugin may implement, in life-cycle order.

A hook is a plain function that returns data; the host owns, awaits and times what it returns. An implementation may
take fewer arguments than the hook offers, by name; ``async def``, defaults and ``*`` are refused.
"""

from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

from nocohost.api.app import App
from nocohost.api.check import Check
from nocohost.api.principal import Principal
from nocohost.api.resource import Resource
from nocohost.api.routes import Route
from nocohost.api.schedule import Schedule
from nocohost.api.service import JobType, Service

if TYPE_CHECKING:
    from aiohttp.web import Request
    from pydantic import BaseModel

hookspec = HookspecMarker("nocohost")
hookimpl = HookimplMarker("nocohost")


class DeclarationHooks:
    """Hooks of ``nocohost.declarations`` entry points: data that every node and child knows."""

    @hookspec
    def register_settings(self) -> "type[BaseModel]":  # type: ignore[empty-body]
        """Declare the plugin's settings.

        Called: once on every node and in every child, before any other hook.
        Returns: a pydantic model; its fields are read from ``NOCOHOST_PLUGINS__<PLUGIN>__<FIELD>``.
        If it raises: the plugin's declarations are quarantined, and with them all its other entry points.
        """

    @hookspec
    def register_jobs(self) -> Sequence[JobType]:  # type: ignore[empty-body]
        """Declare the jobs that may be enqueued under the plugin's service keys.

        Called: once on every node and in every child.
        Returns: a list of ``JobType``.
        If it raises: the plugin's declarations are quarantined, and with them all its other entry points.
        """

    @hookspec
    def register_resources(self) -> Sequence[Resource]:  # type: ignore[empty-body]
        """Declare the tables that the plugin shares with the API, with tasks and with workflows.

        Called: once on every node and in every child.
        Returns: a list of ``Resource``, each named ``plugin.noun`` after the plugin that declares it.
        If it raises: the plugin's declarations are quarantined, and with them all its other entry points.
        """

    @hookspec
    def register_hookspecs(self) -> Sequence[type]:  # type: ignore[empty-body]
        """Publish hooks of the plugin's own, for other plugins to implement.

        Called: once on every node and in every child, before any implementation is checked.
        Returns: a list of classes whose methods are hook specifications.
        If it raises: the plugin's declarations are quarantined, and with them all its other entry points.
        """


class ServiceHooks:
    """Hooks of ``nocohost.services`` entry points."""

    @hookspec
    def register_services(self, app: App) -> Sequence[Service | Schedule]:  # type: ignore[empty-body]
        """Offer the service behind this entry point's key, and schedules.

        Called: once, only on nodes whose worker mode covers the key, before the app opens.
        Returns: a list with one ``Service``, whose key is the entry point's name, and any number of ``Schedule``,
            under this key or any other that is declared.
        If it raises: the key is quarantined with its extensions; the node goes on without it.
        """


class RequestHooks:
    """Hooks of ``nocohost.requests`` entry points."""

    @hookspec
    def serve_requests(self, app: App) -> Sequence[Route]:  # type: ignore[empty-body]
        """Answer HTTP requests.

        Called: once, only on nodes that serve requests, before the app opens.
        Returns: a list of ``Route``, made with ``route(...)``.
        If it raises: the plugin's requests are quarantined; other plugins' routes are served.
        """

    @hookspec
    def authenticate_request(  # type: ignore[empty-body]
        self, app: App, request: "Request"
    ) -> Awaitable[Principal | None]:
        """Say who sent a request that carries no nocohost token.

        Called: for each such request to a route that is not public, plugin by plugin, until one answers.
        Returns: an awaitable of a ``Principal``, or of None for "not mine".
        If it raises: the request is answered 401.
        """


class LifecycleHooks:
    """Hooks of both ``nocohost.services`` and ``nocohost.requests`` entry points."""

    @hookspec
    def register_checks(self, app: App) -> Sequence[Check]:  # type: ignore[empty-body]
        """Add health checks to ``/readyz``.

        Called: once, where the entry point is active, before the app opens.
        Returns: a list of ``Check``.
        If it raises: the entry point is quarantined.
        """

    @hookspec
    def node_lifespan(self, app: App) -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
        """Hold what the plugin needs while the node runs.

        Called: once, where the entry point is active, after migrations and before the first job or request.
        Returns: an async context manager, left after drain, in reverse order.
        If it raises: on entry, the entry point is quarantined; on exit, the log says so and the node goes on stopping.
        The same when it does not begin within 30 s, or end within 5 s. It runs in a task of its own.
        """
