"""Request bodies as strict JSON: what other readers would take differently is refused, not guessed."""

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from nocohost.web.problems import RequestRefusedError

ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_DEPTH = 64
MAX_DIGITS = 400
MEDIA_TYPE = "application/json"


class JsonError(RequestRefusedError, ValueError):
    """The body is not the JSON that this host reads."""

    code = "http.bad_json"

    def __init__(self, fault: str) -> None:
        super().__init__(400, f"The body is not JSON: {fault}.", code=self.code)


async def read_model(request: web.Request, model: type[ModelT]) -> ModelT:
    """Return the body of the request as ``model``.

    Raises problems as ``read_object`` does, and 422 with every fault for what does not fit the model.
    """
    return fit_model(model, await read_object(request))


def fit_model(model: type[ModelT], value: Any) -> ModelT:
    """Return ``value`` as ``model``; raises a 422 problem with every fault, without values: they may be secret."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RequestRefusedError(422, "The body does not fit.", faults=_faults_of(error)) from error


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the body of the request, a JSON object.

    Raises problems: 415 for another media type, 413 for too large a body (before it is read, when its length is told),
    400 for what is no strict JSON, 422 for what is no object.
    """
    if request.content_type != MEDIA_TYPE or (request.charset or "utf-8").lower() != "utf-8":
        raise RequestRefusedError(415, f"The body must be {MEDIA_TYPE}, in UTF-8.", hint=f"Content-Type: {MEDIA_TYPE}")
    if (request.content_length or 0) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)
    value = strict_loads(await request.read())
    if not isinstance(value, dict):
        raise RequestRefusedError(422, "The body must be a JSON object.")
    return value


def _faults_of(error: ValidationError) -> Sequence[str]:
    return [
        f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def strict_loads(body: bytes) -> Any:
    """Return the JSON value in ``body``, or raise ``JsonError``.

    Refused: other encodings than UTF-8, NaN and Infinity, a member named twice, numbers with more than 400 digits or
    too large for a double, halves of surrogate pairs, nesting deeper than 64.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except RecursionError:
        raise JsonError(f"nested deeper than {MAX_DEPTH}") from None
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    _check_depth(value)
    if b"\\u" in body:
        _check_surrogates(value)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise JsonError(f"member {name[:100]!r} is given twice")
        members[name] = value
    return members


def _no_constant(name: str) -> Any:
    raise JsonError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text) if len(text) <= MAX_DIGITS else math.inf
    if math.isinf(number):
        raise JsonError("a number is too large")
    return number


def _short(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise JsonError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise JsonError(f"nested deeper than {MAX_DEPTH}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError("half of a surrogate pair stands alone") from None
