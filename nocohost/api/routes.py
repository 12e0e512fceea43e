"""HTTP routes as data. The host adds them to its one application, only where the node serves requests."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from nocohost.api.errors import PluginContractError

if TYPE_CHECKING:
    from aiohttp import web
    from pydantic import BaseModel

    Shape = type[BaseModel] | str | None
    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PERMISSION = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class ApiParameter:
    """A parameter of the query, or with ``place="header"`` a header, as the description of the API tells of it."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    place: str = "query"


@dataclass(frozen=True, slots=True)
class ApiDescription:
    """What the description of the API says of a route under ``/api/v1``.

    ``answers`` and ``bodies`` name a model, the media type of what has none, or None for no body at all.
    """

    name: str
    summary: str
    answers: "Mapping[int, Shape]"
    """By status."""
    bodies: "Mapping[str, Shape]" = field(default_factory=dict)
    """By media type; any of them will do."""
    parameters: Sequence[ApiParameter] = ()
    problems: Sequence[int] = ()
    """The statuses of problems, besides 401, 403 and 503."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route: method, path, handler, and who may call it; ``api`` describes one under ``/api/v1``."""

    method: str
    path: str
    handler: "Handler"
    permission: str = ""
    public: bool = False
    api: ApiDescription | None = None


def route(method: str, path: str, handler: "Handler", *, permission: str = "", public: bool = False) -> Route:
    """Declare a route; exactly one of ``permission="noun.verb"`` and ``public=True`` says who may call it.

    Raises ``PluginContractError`` for neither or both, a malformed permission, an unknown method, a path that does not
    start with ``/``, or one under ``/api``, which belongs to the host.
    """
    _check(method, path, permission, public=public)
    if is_in_api(path):
        raise PluginContractError(f"route {method} {path}: a plugin's path lies outside /api")
    return Route(method, path, handler, permission, public)


def api_route(method: str, path: str, handler: "Handler", *, permission: str, api: ApiDescription) -> Route:
    """Declare a route under ``/api/v1``, for the services that come with nocohost; others' are quarantined with it.

    It asks a permission, and is part of the description of the API. Raises ``PluginContractError`` as ``route`` does.
    """
    _check(method, path, permission, public=False)
    if not path.startswith("/api/v1/"):
        raise PluginContractError(f"route {method} {path}: a route of the API lies under /api/v1")
    return Route(method, path, handler, permission, api=api)


def is_in_api(path: str) -> bool:
    """Tell whether a path is one of those that belong to the host."""
    return f"{unquote(path)}/".startswith("/api/")


def _check(method: str, path: str, permission: str, *, public: bool) -> None:
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
    if not path.startswith("/"):
        raise PluginContractError(f"{where}: a plugin's path starts with / and lies outside /api")
