"""``http``: sends a request to a public address, with the idempotency key of the step as a header."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from builtin_plugins.workflow.charset import decoded
from builtin_plugins.workflow.errors import StepFailedError
from builtin_plugins.workflow.settings import WorkflowSettings
from builtin_plugins.workflow.step_type import StepCall
from builtin_plugins.workflow.steps.addresses import AddressGuard, AddressRefusedError, GuardedResolver
from nocohost import App

CONNECT_SECONDS = 10.0
REDIRECTS = 3
REDIRECTING = frozenset({301, 302, 303, 307, 308})
KEEP_METHOD = frozenset({307, 308})
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
PIECE_BYTES = 64 * 1024


async def request(call: StepCall, app: App) -> Any:
    """Send the request and return ``status``, ``headers`` and ``body``; a status of 400 or more fails the step."""
    settings, params = app.settings(WorkflowSettings), call.params
    guard = AddressGuard.read(settings.http_allow, settings.http_ports)
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(guard), use_dns_cache=False, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
    headers = {name: one for name, one in params.headers.items() if name.lower() != "idempotency-key"}
    headers["Idempotency-Key"] = call.idempotency_key
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            return await _follow(session, guard, params, headers, settings.http_answer_bytes)
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, AddressRefusedError):
            raise error.os_error from error
        raise StepFailedError(f"no connection: {error}", code="workflow.http_connection") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise StepFailedError(f"{type(error).__name__}: {error}", code="workflow.http_connection") from error


async def _follow(
    session: aiohttp.ClientSession, guard: AddressGuard, params: Any, headers: Mapping[str, str], most: int
) -> Any:
    """Follow redirects by hand: each address is judged anew, and secrets go to the first host only."""
    url, method = _url(params), params.method
    given: dict[str, Any] = {}
    if params.json_body is not None:
        given["json"] = params.json_body
    elif params.body is not None:
        given["data"] = params.body.encode()
    for _ in range(REDIRECTS + 1):
        guard.check_url(url.scheme, url.host, url.port)
        async with session.request(method, url, headers=headers, allow_redirects=False, **given) as answer:
            if answer.status not in REDIRECTING or "Location" not in answer.headers:
                return _answer(answer, await _body(answer, most), params)
            before, url = url, url.join(URL(answer.headers["Location"]))
            if answer.status not in KEEP_METHOD and method != "HEAD":
                method, given = "GET", {}
        if (before.scheme, before.host, before.port) != (url.scheme, url.host, url.port):
            headers = {name: one for name, one in headers.items() if name.lower() not in SECRET_HEADERS}
    raise StepFailedError(f"redirected more than {REDIRECTS} times", code="workflow.http_redirects", retryable=False)


def _url(params: Any) -> URL:
    url = URL(params.url)
    if not url.absolute:
        raise StepFailedError(f"{params.url[:200]!r} is no absolute URL", retryable=False)
    if url.user is not None or url.password is not None:
        raise StepFailedError("the URL holds a password", hint="give an Authorization header", retryable=False)
    return url.extend_query({name: str(value) for name, value in params.query.items()}) if params.query else url


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body, decompressed, as far as it may go."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(PIECE_BYTES):
        body += piece
        if len(body) > most:
            raise StepFailedError(
                f"limit: http_answer_bytes: the answer has more than {most} bytes",
                code="workflow.limit",
                retryable=False,
            )
    return bytes(body)


def _answer(answer: aiohttp.ClientResponse, body: bytes, params: Any) -> Mapping[str, Any]:
    accepted = answer.status in params.accept_status if params.accept_status else answer.status < 400
    if not accepted:
        raise StepFailedError(
            f"{params.method} answered {answer.status}",
            code="workflow.http_status",
            retryable=answer.status in (408, 425, 429) or answer.status >= 500,
        )
    text = decoded(body, answer.charset or "utf-8")
    shown: Any = text
    if "json" in answer.content_type:
        try:
            shown = json.loads(text, parse_constant=_no_constant) if text else None
        except (ValueError, RecursionError):
            shown = text
    return {
        "status": answer.status,
        "headers": {name.lower(): one for name, one in answer.headers.items()},
        "body": shown,
    }


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
