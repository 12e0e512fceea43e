"""Where a node listens: the admin port on every node, the main port where requests are served."""

from prometheus_client import CollectorRegistry

from nocohost.host.build import NodeParts
from nocohost.host.ports import admin_ports
from nocohost.host.status import NodeStatus
from nocohost.plugins.activation import Activation
from nocohost.web.access import Access
from nocohost.web.admin import build_admin
from nocohost.web.application import build_application
from nocohost.web.deadlines import Deadlines
from nocohost.web.keys import Wake
from nocohost.web.server import AddressInUseError, HttpServer

CLOSE_SECONDS = 1.0


class Doors:
    """The HTTP servers of one node."""

    def __init__(self, parts: NodeParts, status: NodeStatus, registry: CollectorRegistry) -> None:
        self._parts = parts
        self._status = status
        self._registry = registry
        self._admin: HttpServer | None = None
        self._main: HttpServer | None = None
        self.admin_address = ""
        """``host:port`` of the admin port, once it is open."""
        self.url: str | None = None
        """Where requests are answered, once they are."""

    @property
    def serves_requests(self) -> bool:
        """Tell whether the main port is open."""
        return self._main is not None

    async def open_admin(self) -> None:
        """Open the admin port, moving aside for a neighbour unless the port was set; raises ``ListenError``."""
        settings = self._parts.settings
        refused: AddressInUseError | None = None
        for port in admin_ports(settings.admin):
            application = build_admin(
                self._parts.app,
                self._status,
                self._registry,
                settings=settings.admin,
                allowed_hosts=settings.http.allowed_hosts,
                keys=self._parts.catalogue.declared_keys,
            )
            server = HttpServer(
                application,
                settings.admin.host,
                port,
                log=self._parts.log,
                settings="NOCOHOST_ADMIN",
            )
            try:
                host, bound = await server.start(name_holder=settings.admin.port is not None)
            except AddressInUseError as error:
                refused = error
                continue
            self._admin = server
            self.admin_address = f"{host}:{bound}"
            return
        assert refused is not None
        raise refused

    async def open_requests(self, activation: Activation, *, wake: Wake, retime: Wake) -> None:
        """Open the main port with the routes of the active plugins; raises ``ListenError``.

        ``wake(key)`` has every node that serves the key look for work; ``retime(name)`` has them look for the next
        tick of the schedule.
        """
        settings = self._parts.settings
        token = settings.admin_token
        access = Access(
            self._parts.app,
            admin_token=None if token is None else token.get_secret_value(),
            authenticators=activation.authenticators,
        )
        application = build_application(
            self._parts.app,
            activation.routes,
            access,
            settings=settings.http,
            health=self._status,
            registry=self._registry,
            declared=self._parts.known_keys,
            resources=self._parts.declarations.resources,
            wake=wake,
            retime=retime,
        )
        deadlines = Deadlines(settings.http.header_seconds, settings.http.body_seconds, settings.http.idle_seconds)
        server = HttpServer(
            application, settings.http.host, settings.http.port, log=self._parts.log, deadlines=deadlines
        )
        host, port = await server.start()
        self._main = server
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def announce_stop(self) -> None:
        """Close each connection after its next response, so that clients go elsewhere before the port closes."""
        if self._main is not None:
            self._main.announce_stop()

    async def close_requests(self, deadline: float) -> None:
        """Stop accepting requests, and let those under way finish until ``deadline`` on the monotonic clock."""
        if self._main is not None:
            await self._main.stop(max(deadline - self._parts.clock.monotonic(), 0.0))
            self._main = None

    async def close_admin(self) -> None:
        """Close the admin port, and the main one if it is still open."""
        await self.close_requests(self._parts.clock.monotonic())
        if self._admin is not None:
            await self._admin.stop(CLOSE_SECONDS)
            self._admin = None
