"""The admin port's application: health and metrics, on every node, whatever its mode. Nothing here changes anything."""

from collections.abc import Collection

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from nocohost.api.app import App
from nocohost.node.settings import AdminSettings
from nocohost.store.coverage import read_coverage
from nocohost.web.application import add_health_routes, new_application
from nocohost.web.gate import GATE, Gate
from nocohost.web.health import Health
from nocohost.web.hosts import HostPolicy, is_loopback
from nocohost.web.keys import APP
from nocohost.web.metrics import TEXT_FORMAT, RequestMetrics, cluster_exposition, exposition

BODY_BYTES = 1024


def build_admin(
    app: App,
    health: Health,
    registry: CollectorRegistry,
    *,
    settings: AdminSettings,
    allowed_hosts: Collection[str] = (),
    keys: Collection[str] = (),
) -> web.Application:
    """Return the application of the admin port.

    It asks no token, so it is bound to loopback unless the operator says otherwise. Bound to loopback it answers to
    loopback's names and ``allowed_hosts``; beyond, to any host, since Prometheus and probes come by address. ``keys``
    are shown by ``/metrics/cluster`` even while nobody serves them and nothing waits.
    """
    application = new_application(app, BODY_BYTES)
    hosts = HostPolicy(settings.host, allowed_hosts if is_loopback(settings.host) else ())
    gate = Gate(application, None, hosts, RequestMetrics(CollectorRegistry()), log=app.log)
    application[GATE] = gate

    async def metrics(request: web.Request) -> web.Response:
        return _text(exposition(registry))

    async def cluster(request: web.Request) -> web.Response:
        async with request.app[APP].database.connect() as connection:
            queues = await read_coverage(connection, dict.fromkeys(keys, ""))
        return _text(cluster_exposition(queues))

    add_health_routes(gate, health)
    gate.add(["GET", "HEAD"], "/metrics", metrics)
    gate.add(["GET", "HEAD"], "/metrics/cluster", cluster)
    return application


def _text(body: bytes) -> web.Response:
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: TEXT_FORMAT, hdrs.CACHE_CONTROL: "no-store"})
