"""Errors as HTTP answers: ``application/problem+json`` (RFC 9457) with a stable ``type``.

A problem has ``type`` (``urn:nocohost:problem:<code>``), ``code``, ``title``, ``status``, ``detail``, and where they
help ``hint``, ``faults`` (every one of them) and ``request_id``. Errors from 500 up never show what went wrong inside:
the log does, under the same request id.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from nocohost.api.errors import (
    AppNotOpenError,
    FenceLostError,
    FileTooLargeError,
    JobConflictError,
    JobNotFoundError,
    LockLostError,
    LockTimeoutError,
    NocohostError,
    NodeConflictError,
    NodeNotFoundError,
    PayloadError,
    PayloadTooLargeError,
    QueueError,
    RecordConflictError,
    RecordNotFoundError,
    RecordValuesError,
    ResourceError,
    ResourceNotFoundError,
    ScheduleNotFoundError,
    SchemaVersionError,
    StorageError,
    StorageUnavailableError,
    StoreConflictError,
    StoredFileNotFoundError,
    StoreUnavailableError,
    TransactionExpiredError,
    UnknownKeyError,
    UnservedError,
)

PREFIX = "urn:nocohost:problem:"
CONTENT_TYPE = "application/problem+json"
BODY_HEADERS = frozenset({"Content-Type", "Content-Length"})
RETRY_SECONDS = 2

STATUSES: Sequence[tuple[type[NocohostError], int]] = (
    (UnknownKeyError, 404),
    (JobNotFoundError, 404),
    (ScheduleNotFoundError, 404),
    (NodeNotFoundError, 404),
    (NodeConflictError, 409),
    (PayloadError, 422),
    (PayloadTooLargeError, 413),
    (JobConflictError, 409),
    (FenceLostError, 409),
    (UnservedError, 503),
    (LockTimeoutError, 503),
    (LockLostError, 503),
    (QueueError, 409),
    (ResourceNotFoundError, 404),
    (RecordNotFoundError, 404),
    (RecordValuesError, 422),
    (RecordConflictError, 409),
    (ResourceError, 400),
    (StoredFileNotFoundError, 404),
    (FileTooLargeError, 413),
    (StorageUnavailableError, 503),
    (StorageError, 409),
    (StoreConflictError, 409),
    (StoreUnavailableError, 503),
    (TransactionExpiredError, 503),
    (SchemaVersionError, 503),
    (AppNotOpenError, 503),
)
"""The first class that fits decides; any other error of ours is 500."""

HTTP_CODES: Mapping[int, str] = {
    400: "http.bad_request",
    401: "http.unauthorized",
    403: "http.forbidden",
    404: "http.not_found",
    405: "http.method_not_allowed",
    408: "http.too_slow",
    409: "http.conflict",
    411: "http.length_required",
    413: "http.body_too_large",
    415: "http.media_type",
    417: "http.expectation",
    421: "http.wrong_host",
    422: "http.unprocessable",
    429: "http.too_many_requests",
    431: "http.headers_too_large",
    500: "http.internal",
    503: "http.unavailable",
}


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    type: str = Field(description="urn:nocohost:problem: and the code")
    code: str
    title: str
    status: int
    detail: str
    hint: str = ""
    faults: list[str] = Field(default=[], description="every fault of the request")
    request_id: str = Field(default="", description="the log has more under this id")


class RequestRefusedError(NocohostError):
    """The request is refused before or instead of its handler.

    ``status`` and ``headers`` are those of the answer; ``faults`` lists everything that is wrong with it.
    """

    code = "http.bad_request"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        hint: str = "",
        faults: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code or code_of_status(status))
        self.status = status
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


def code_of_status(status: int) -> str:
    """Return the code of a plain HTTP error, e.g. ``http.not_found``."""
    return HTTP_CODES.get(status, f"http.status_{status}")


def status_of(error: NocohostError) -> int:
    """Return the HTTP status that tells a caller about ``error``."""
    if isinstance(error, RequestRefusedError):
        return error.status
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    faults: Sequence[str] = (),
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a problem; ``headers`` may carry ``Allow``, ``WWW-Authenticate`` and the like."""
    body: dict[str, object] = {
        "type": PREFIX + code,
        "code": code,
        "title": _phrase(status),
        "status": status,
        "detail": detail,
    }
    if hint:
        body["hint"] = hint
    if faults:
        body["faults"] = list(faults)
    if request_id:
        body["request_id"] = request_id
    answer = web.Response(status=status, body=json.dumps(body).encode(), headers=headers)
    answer.headers[hdrs.CONTENT_TYPE] = CONTENT_TYPE
    answer.headers[hdrs.CACHE_CONTROL] = "no-store"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers.setdefault(hdrs.RETRY_AFTER, str(RETRY_SECONDS))
    if status == HTTPStatus.REQUEST_TIMEOUT:
        answer.force_close()
    return answer


def problem_of(error: NocohostError, request_id: str) -> web.Response:
    """Return the problem that tells a caller about an error of ours."""
    status = status_of(error)
    headers = error.headers if isinstance(error, RequestRefusedError) else None
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and headers is None:
        # The message may name hosts and paths of the inside; the class says enough.
        return problem(status, error.code, _first_line(type(error)), request_id=request_id)
    faults = getattr(error, "faults", ())
    return problem(
        status, error.code, error.message, hint=error.hint, faults=faults, request_id=request_id, headers=headers
    )


def problem_of_http(error: web.HTTPException, request_id: str) -> web.StreamResponse:
    """Return the problem for an error of aiohttp's, or one that a plugin raised as such.

    Its text becomes the detail and its headers stay. Redirects, and bodies of another type, are kept as they are.
    """
    if error.status < HTTPStatus.BAD_REQUEST or error.content_type != "text/plain":
        answer = web.Response(status=error.status, reason=error.reason, headers=error.headers, body=error.body)
    else:
        standard = f"{error.status}: {error.reason}"
        detail = _phrase(error.status) if error.text in {None, "", standard} else str(error.text)
        kept = {name: text for name, text in error.headers.items() if name.title() not in BODY_HEADERS}
        answer = problem(error.status, code_of_status(error.status), detail, request_id=request_id, headers=kept)
    answer.cookies.update(error.cookies)
    return answer


def internal_problem(request_id: str) -> web.Response:
    """Return the problem for an error nobody foresaw; the log has the traceback under the same id."""
    detail = "The request failed inside. The log tells why, under this request id."
    return problem(500, "http.internal", detail, request_id=request_id)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _first_line(kind: type[NocohostError]) -> str:
    return (kind.__doc__ or "").splitlines()[0].replace("``", "`")
