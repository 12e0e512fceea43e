"""The one door to every route: who may come in, and what becomes of errors.

aiohttp's own chain of router, application and middleware costs a request several frames and does not know which
permission a route asks. ``HttpServer`` hands requests to the gate instead, which uses aiohttp's router and nothing else
of the chain. The router itself holds no handler of anybody: served without its gate, an application refuses everything.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

from aiohttp import web
from aiohttp.hdrs import ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_ENCODING, EXPECT, HOST
from aiohttp.web import StreamResponse

from nocohost.api.errors import NocohostError
from nocohost.api.log import Log
from nocohost.web.access import ASKED, Access, unauthorized
from nocohost.web.headers import refuse_broken_fields
from nocohost.web.hosts import HostPolicy
from nocohost.web.keys import PRINCIPAL
from nocohost.web.metrics import Observe, RequestMetrics
from nocohost.web.problems import RequestRefusedError, internal_problem, problem, problem_of, problem_of_http, status_of
from nocohost.web.request import LOGGED_ID, NodeRequest

Handler = Callable[[web.Request], Awaitable[StreamResponse]]


@dataclass(frozen=True, slots=True)
class Passage:
    """A route as the gate keeps it: its handler, and who may reach it (anybody when ``permission`` is empty)."""

    path: str
    handler: Handler
    observe: Observe
    permission: str = ""
    any_host: bool = False
    """Health probes come with the address of a pod as their host."""


class Gate:
    """Checks each request before its handler, counts it after, and answers it whatever happens.

    Without an ``Access`` only public routes can be added.
    """

    def __init__(
        self,
        application: web.Application,
        access: Access | None,
        hosts: HostPolicy,
        metrics: RequestMetrics,
        *,
        log: Log,
        access_log: bool = False,
    ) -> None:
        self.hosts = hosts
        self._application = application
        self._router = application.router
        self._access = access
        self._metrics = metrics
        self._log = log
        self._access_log = access_log
        self._plain: dict[tuple[str, str], tuple[Passage, web.AbstractRoute]] = {}
        self._passages: dict[web.AbstractRoute, Passage] = {}
        self._unmatched = Passage("unmatched", nothing_here, metrics.for_route("unmatched"))
        self._before_secrets: set[str] = set()

    def add(
        self, methods: Iterable[str], path: str, handler: Handler, *, permission: str = "", any_host: bool = False
    ) -> None:
        """Add a route; with an empty ``permission`` anybody may call it. No log line tells its ``{secret}``."""
        assert self._access is not None or not permission
        passage = Passage(path, handler, self._metrics.for_route(path), permission, any_host)
        before, secret, _ = path.partition("{secret")
        if secret:
            self._before_secrets.add(before)
        for method in methods:
            route = self._router.add_route(method, path, refuse_without_gate)
            self._passages[route] = passage
            if isinstance(route.resource, web.PlainResource):
                self._plain[method, path] = passage, route

    async def handle(self, request: web.BaseRequest) -> StreamResponse:
        """Answer one request; what ``web.Server`` calls for each."""
        started = perf_counter()
        assert isinstance(request, NodeRequest)
        LOGGED_ID.set(request.request_id)
        passage = self._unmatched
        try:
            found = self._plain.get((request.method, request.rel_url.raw_path))
            if found is not None:
                passage, route = found
                match = web.UrlMappingMatchInfo({}, route)
            else:
                match = await self._router.resolve(request)
                passage = self._passages.get(match.route, passage)
            match.add_app(self._application)
            request.take_match(match)
            waiting = self._admit(request, passage)
            if waiting is not None:
                await waiting
            response = await passage.handler(request)
            if not isinstance(response, StreamResponse):
                raise TypeError(f"the handler returned {type(response).__name__}, not a response")
            # Here, within the fence: aiohttp would drop the connection when the head cannot be written.
            if type(response).prepare is StreamResponse.prepare:
                if await response.prepare(request) is not request.writer and not request.writer.output_size:
                    raise RuntimeError("the handler returned a response that was sent before")
            elif not response.prepared:  # one that prepares in a way of its own, such as a file, does so only once
                refuse_broken_fields(response.headers)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the fence: all of it is answered
            response = await self._answer(request, passage, error)
        finally:
            if request.held_bytes:
                request.give_back()
        seconds = perf_counter() - started
        passage.observe(request.method, response.status, seconds)
        if self._access_log:
            self._log_access(request, response, passage, seconds)
        return response

    def _admit(self, request: NodeRequest, passage: Passage) -> Awaitable[None] | None:
        """Let the request in or raise: at once if its token is known, else return what to await for that."""
        headers = request.headers
        if not passage.any_host and not self.hosts.allows(headers.get(HOST)):
            raise self.hosts.refusal()
        if CONTENT_ENCODING in headers:
            refuse_encoded_body(request)
        permission = passage.permission
        if permission:
            principal = self._access.remembered(headers.get(AUTHORIZATION), permission)  # type: ignore[union-attr]
            if principal is None:
                return self._require(request, permission)
            request[PRINCIPAL] = principal
        return invite_body(request) if EXPECT in headers else None

    async def _require(self, request: NodeRequest, permission: str) -> None:
        request[PRINCIPAL] = await self._access.require(request, permission)  # type: ignore[union-attr]
        if EXPECT in request.headers:
            await invite_body(request)

    async def _answer(self, request: NodeRequest, passage: Passage, error: BaseException) -> StreamResponse:
        """Return what tells the caller about ``error``, ready to be sent."""
        response = self._explain(request, passage, error)
        request.renew_writer()  # a head that could not be written has left its marks on the writer
        try:
            await response.prepare(request)
        except ValueError as unsendable:  # the plugin's error brings headers of its own
            request.renew_writer()
            response = self._explain(request, passage, unsendable)
        return response

    def _explain(self, request: NodeRequest, passage: Passage, error: BaseException) -> StreamResponse:
        """Return what tells the caller about ``error``, and log what the caller is not told."""
        request_id = request.request_id
        if request.transport is None:
            raise ConnectionResetError("the client has left") from error
        if request.writer.output_size > 0:
            self._log.error("http.broken_off", method=request.method, path=self._told(request), exc_info=error)
            # Half an answer must not look like a whole one: closing without its end says so.
            raise ConnectionResetError("the handler failed after its response had begun") from error
        if ASKED in request and not isinstance(error, RequestRefusedError):
            self._log.error("http.authenticator_failed", plugin=request[ASKED], exc_info=error)
            return problem_of(unauthorized("The request could not be authenticated."), request_id)
        if isinstance(error, web.HTTPException):
            return problem_of_http(error, request_id)
        if isinstance(error, web.RequestPayloadError):
            return problem(400, "http.bad_request", "The body is not HTTP as it should be.", request_id=request_id)
        if isinstance(error, NocohostError) and status_of(error) != 500:
            if status_of(error) > 500:
                self._log.warning("http.unavailable", code=error.code, reason=error.message, path=self._told(request))
            return problem_of(error, request_id)
        path = self._told(request)
        self._log.error("http.failed", method=request.method, path=path, route=passage.path, exc_info=error)
        return internal_problem(request_id)

    def _told(self, request: NodeRequest) -> str:
        """Return the path as logs may tell it: nothing from where a secret may begin, whatever route was meant."""
        path = request.path
        return next((f"{before}***" for before in self._before_secrets if path.startswith(before)), path)

    def _log_access(self, request: NodeRequest, response: StreamResponse, passage: Passage, seconds: float) -> None:
        principal = request.get(PRINCIPAL)
        self._log.info(
            "http.request",
            method=request.method,
            path=self._told(request),
            route=passage.path,
            status=response.status,
            seconds=round(seconds, 6),
            remote=request.remote,
            principal=principal.id if principal else None,
        )


GATE = web.AppKey("GATE", Gate)
"""Where ``HttpServer`` finds the gate of an application."""


async def nothing_here(request: web.Request) -> StreamResponse:
    """Raise what the router found instead of a route: a 404 problem, or a 405 that names the methods allowed."""
    error = request.match_info.http_exception
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        raise RequestRefusedError(405, f"{request.method} is not allowed here.", headers={ALLOW: allowed})
    raise RequestRefusedError(404, "There is nothing at this path.")


async def refuse_without_gate(request: web.Request) -> StreamResponse:
    """Refuse: the application is served by something that does not know who may call what."""
    raise web.HTTPForbidden


def refuse_encoded_body(request: web.Request) -> None:
    """Raise a 415 problem for a compressed request body: it may unfold into anything."""
    if request.headers[CONTENT_ENCODING].strip().lower() != "identity":
        raise RequestRefusedError(
            415,
            "Encoded request bodies are not read.",
            code="http.encoded_body",
            headers={ACCEPT_ENCODING: "identity"},
        )


async def invite_body(request: web.Request) -> None:
    """Answer ``Expect: 100-continue`` now that the request may come in; raises a 417 problem for anything else."""
    if request.headers[EXPECT].lower() != "100-continue":
        raise RequestRefusedError(417, "Nothing but 100-continue can be expected.")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
