"""Who sent a request, and whether they may have what they ask for. Everything that is not granted is refused."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from nocohost.api.app import App
from nocohost.api.errors import PluginContractError
from nocohost.api.principal import Principal
from nocohost.store.tokens import find_token
from nocohost.web.problems import RequestRefusedError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Authenticator = Callable[[web.Request], Awaitable[Principal | None]]
"""A plugin's answer to ``authenticate_request``, asked for one request."""
TokenLookup = Callable[["AsyncConnection", str], Awaitable[Principal | None]]

CACHE_SECONDS = 4.0
"""Counted from before the database was asked, so that a revoked token is refused everywhere within 5 s."""
UNKNOWN_SECONDS = 1.0
CACHED_TOKENS = 4096
MAX_TOKEN_LENGTH = 200
AUTHENTICATOR_SECONDS = 10.0
TOKEN_PREFIX = "nch_"  # noqa: S105 - what makes a token recognisable, not a token
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ASKED = web.RequestKey("ASKED", str)
"""The plugin whose authenticator is being asked."""


@dataclass(slots=True)
class Known:
    """What a token was found to be, until when that may be believed, and which permissions it was seen to grant."""

    principal: Principal | None
    until: float
    granted: set[str] = field(default_factory=set)


class Access:
    """Finds the principal of a request, and holds it against the permission of a route.

    A nocohost token decides alone; a request without one is shown to the plugins' authenticators, in order. What is
    known of tokens is kept under the SHA-256 of the ``Authorization`` header, never under its text.
    """

    def __init__(
        self,
        app: App,
        *,
        admin_token: str | None = None,
        authenticators: Sequence[tuple[str, Authenticator]] = (),
        lookup: TokenLookup = find_token,
    ) -> None:
        self._app = app
        self._monotonic = app.clock.monotonic
        self._admin_digest = _digest(admin_token) if admin_token else None
        self._authenticators = tuple(authenticators)
        self._lookup = lookup
        self._known: dict[bytes, Known] = {}
        self._asking: dict[bytes, asyncio.Task[Known]] = {}

    def remembered(self, authorization: str | None, permission: str) -> Principal | None:
        """Return whose token this header carries if that is cached and grants ``permission``, else None.

        The fast path of almost every request; None says nothing, ``require`` decides.
        """
        if authorization is None:
            return None
        known = self._known.get(_digest(authorization))
        if known is None or permission not in known.granted or known.until < self._monotonic():
            return None
        return known.principal

    async def require(self, request: web.Request, permission: str) -> Principal:
        """Return the principal of the request if it may do ``permission``; raises a 401 or a 403 problem."""
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        token = bearer_token(authorization)
        known = await self._known_of(_digest(authorization), token) if token else None
        principal = known.principal if known is not None else await self._ask_authenticators(request)
        if principal is None:
            raise unauthorized("The token is unknown, expired or revoked." if token else "This route needs a token.")
        if not principal.may(permission):
            raise RequestRefusedError(
                403, f"{principal.id!r} may not do {permission}.", hint=f"ask for a token with the scope {permission}"
            )
        if known is not None:
            known.granted.add(permission)
        return principal

    async def _known_of(self, key: bytes, token: str) -> Known | None:
        """Return what is known of a nocohost token; None for a token of another kind."""
        known = self._known.get(key)
        if known is not None and known.until >= self._monotonic():
            return known
        if self._admin_digest is not None and hmac.compare_digest(_digest(token), self._admin_digest):
            return self._remember(key, Known(Principal("admin", frozenset({"admin"})), float("inf")))
        if not token.startswith(TOKEN_PREFIX):
            return None
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            return Known(None, 0.0)
        return await self._ask_once(key, token)

    async def _ask_once(self, key: bytes, token: str) -> Known:
        """Ask the database; requests that come with the same token meanwhile wait for the same answer."""
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_database(key, token), name="look up a token")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)

    def _answered(self, key: bytes, task: "asyncio.Task[Known]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # all who waited may have left; an error nobody fetched would be logged as a bug

    async def _ask_database(self, key: bytes, token: str) -> Known:
        asked_at = self._monotonic()
        async with self._app.database.connect() as connection:
            principal = await self._lookup(connection, token)
        seconds = CACHE_SECONDS if principal else UNKNOWN_SECONDS
        return self._remember(key, Known(principal, asked_at + seconds))

    def _remember(self, key: bytes, known: Known) -> Known:
        self._known.pop(key, None)
        if len(self._known) >= CACHED_TOKENS:
            self._known.pop(next(iter(self._known)))
        self._known[key] = known
        return known

    async def _ask_authenticators(self, request: web.Request) -> Principal | None:
        for plugin, authenticate in self._authenticators:
            # The fence around the request turns whatever is raised while this is set into a 401.
            request[ASKED] = plugin
            async with asyncio.timeout(AUTHENTICATOR_SECONDS):
                principal = await authenticate(request)
            if principal is not None and not isinstance(principal, Principal):
                raise PluginContractError(f"authenticate_request gave {type(principal).__name__}, no Principal")
            del request[ASKED]
            if principal is not None:
                refuse_cross_site(request)
                return principal
        return None


def unauthorized(detail: str) -> RequestRefusedError:
    """Return the 401 problem that says how to show a token."""
    hint = "send Authorization: Bearer <token>; make one with: nocohost token create NAME"
    return RequestRefusedError(401, detail, hint=hint, headers={"WWW-Authenticate": 'Bearer realm="nocohost"'})


def bearer_token(authorization: str) -> str:
    """Return the token of an ``Authorization: Bearer`` header, or the empty string."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def refuse_cross_site(request: web.Request) -> None:
    """Raise a 403 problem when a browser says that a page of another site sends this change.

    A plugin's authenticator may rest on a cookie, which a browser attaches whoever wrote the page; nocohost's own
    tokens are never attached by themselves, so they are not asked this.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get(hdrs.ORIGIN)
    if site is not None:
        same = site in {"same-origin", "none"}
    else:
        same = origin is None or origin.partition("://")[2] == request.headers.get(hdrs.HOST)
    if not same:
        raise RequestRefusedError(403, "A page of another site sends this request.", code="http.cross_site")


def _digest(text: str) -> bytes:
    try:
        return sha256(text.encode()).digest()
    except UnicodeEncodeError:  # bytes that are no text; no token has any, but a digest all the same
        return sha256(text.encode("utf-8", "surrogateescape")).digest()
