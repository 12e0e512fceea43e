"""The one aiohttp application of a node that serves requests: plugin routes, ``/api/v1`` and health."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aiohttp import web
from prometheus_client import CollectorRegistry

from nocohost.api.app import App
from nocohost.api.resource import Resource
from nocohost.api.routes import Route
from nocohost.node.settings import HttpSettings
from nocohost.web.access import Access
from nocohost.web.gate import GATE, Gate
from nocohost.web.health import Health, HealthProbes
from nocohost.web.hosts import HostPolicy
from nocohost.web.jobs_api import job_operations
from nocohost.web.keys import APP, BODY_BYTES, DECLARED, RETIME, WAKE, Wake
from nocohost.web.many_jobs_api import many_jobs_operations
from nocohost.web.metrics import RequestMetrics
from nocohost.web.nodes_api import node_operations
from nocohost.web.openapi import Operation, add_operations
from nocohost.web.queues_api import queue_operations
from nocohost.web.resources_api import PATH as RESOURCES_PATH
from nocohost.web.resources_api import refuse_unknown, resource_operations
from nocohost.web.routing import add_plugin_routes, plugin_operations
from nocohost.web.scaling_api import scaling_operations
from nocohost.web.schedules_api import schedule_operations

GET = ("GET", "HEAD")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def _nobody(key: str) -> None:
    """Wake nobody."""


def build_application(
    app: App,
    routes: Sequence[tuple[str, Route]],
    access: Access,
    *,
    settings: HttpSettings,
    health: Health,
    registry: CollectorRegistry,
    declared: Mapping[str, str] = MappingProxyType({}),
    wake: Wake = _nobody,
    retime: Wake = _nobody,
    resources: Mapping[str, Resource] = MappingProxyType({}),
) -> web.Application:
    """Return the application of a requests node.

    ``routes`` are (plugin, route) pairs, ``declared``, ``wake`` and ``retime`` as in ``web.keys``; ``resources``
    are served by their names.

    Every route is refused to whoever lacks its permission; none can be added past this function. Raises
    ``PluginContractError`` for routes that ``route_faults`` names.
    """
    application = new_application(app, settings.body_bytes)
    application[DECLARED] = declared
    application[WAKE] = wake
    application[RETIME] = retime
    hosts = HostPolicy(settings.host, settings.allowed_hosts)
    gate = Gate(application, access, hosts, RequestMetrics(registry), log=app.log, access_log=settings.access_log)
    application[GATE] = gate
    add_health_routes(gate, health)
    add_operations(gate, api_operations(resources, routes))
    for path in (f"{RESOURCES_PATH}/{{name}}", f"{RESOURCES_PATH}/{{name}}/{{key:.+}}"):
        gate.add(METHODS, path, refuse_unknown, permission="api.read")
    add_plugin_routes(gate, routes)
    return application


def api_operations(
    resources: Mapping[str, Resource] = MappingProxyType({}), routes: Sequence[tuple[str, Route]] = ()
) -> list[Operation]:
    """Return everything that ``/api/v1`` answers.

    The records of the declared ``resources`` are part of it, and of ``routes`` those that lie there.
    """
    return [
        *job_operations(),
        *many_jobs_operations(),
        *node_operations(),
        *queue_operations(),
        *resource_operations(resources),
        *scaling_operations(),
        *schedule_operations(),
        *plugin_operations(routes),
    ]


def new_application(app: App, body_bytes: int) -> web.Application:
    """Return an application without routes."""
    application = web.Application(client_max_size=body_bytes)
    application[APP] = app
    application[BODY_BYTES] = body_bytes
    return application


def add_health_routes(gate: Gate, health: Health) -> None:
    """Add ``/livez``, ``/readyz`` and ``/healthz``, open to anybody and under any host name."""
    probes = HealthProbes(health, gate.hosts)
    for path, handler in (("/livez", probes.livez), ("/readyz", probes.readyz), ("/healthz", probes.readyz)):
        gate.add(GET, path, handler, any_host=True)
