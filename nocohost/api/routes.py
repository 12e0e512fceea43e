"""HTTP routes as data. The host adds them to its one application, only where the node serves requests."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from nocohost.api.errors import PluginContractError

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PERMISSION = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Route:
    """One route: method, path, handler, and who may call it."""

    method: str
    path: str
    handler: "Handler"
    permission: str = ""
    public: bool = False


def route(method: str, path: str, handler: "Handler", *, permission: str = "", public: bool = False) -> Route:
    """Declare a route; exactly one of ``permission="noun.verb"`` and ``public=True`` says who may call it.

    Raises ``PluginContractError`` for neither or both, a malformed permission, an unknown method, a path that does not
    start with ``/``, or one under ``/api``, which belongs to the host.
    """
    where = f"route {method} {path}"
    if bool(permission) == public:
        raise PluginContractError(
            f"{where}: says neither who may call it nor that it is public"
            if not public
            else f"{where}: is public and asks a permission",
            hint='give either permission="noun.verb" or public=True',
        )
    if permission and not PERMISSION.fullmatch(permission):
        raise PluginContractError(f"{where}: {permission!r} is no permission", hint="a permission reads noun.verb")
    if method not in METHODS:
        raise PluginContractError(f"{where}: {method!r} is no HTTP method", hint="one of " + ", ".join(sorted(METHODS)))
    if not path.startswith("/") or f"{unquote(path)}/".startswith("/api/"):
        raise PluginContractError(f"{where}: a plugin's path starts with / and lies outside /api")
    return Route(method, path, handler, permission, public)
