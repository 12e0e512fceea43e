"""The bodies and queries of requests about workflows, read strictly."""

from collections.abc import Collection
from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builtin_plugins.workflow.execution_desk import not_found
from nocohost import PayloadError

JSON = "application/json"
PAGE_ITEMS = 100
MAX_PAGE_ITEMS = 200
MAX_KEY_LETTERS = 255
MAX_WAIT_SECONDS = 30.0
ModelT = TypeVar("ModelT", bound=BaseModel)


class Body(BaseModel):
    """No other members are taken."""

    model_config = ConfigDict(extra="forbid")


class DefinitionBody(BaseModel):
    """A definition; ``/api/v1/workflow-schema`` has all of its schema."""

    model_config = ConfigDict(extra="allow")

    version: int = Field(description="of the format: 1")
    name: str = Field(examples=["order-intake"])
    trigger: dict[str, Any]
    steps: list[dict[str, Any]]


class NewExecutionBody(Body):
    """The body that starts an execution."""

    input: Any = Field(None, description="any JSON value; expressions see it as trigger.input")
    wait_seconds: float | None = Field(
        None, ge=0, le=MAX_WAIT_SECONDS, description="wait so long for its end, and answer 200 with it"
    )


class RetryBody(Body):
    """The body of a retry."""

    start: str | None = Field(
        None, alias="from", max_length=2000, description='path of a step, "" for the start; unset: what failed'
    )


class SignalBody(Body):
    """The body of a signal."""

    value: Any = None


class EnableBody(Body):
    """Which version to enable."""

    version: int | None = Field(None, ge=1, description="unset: the newest")


async def read_body(request: web.Request, model: type[ModelT]) -> ModelT:
    """Return the JSON body as the model, an empty one too; raises problems for what does not fit."""
    if not request.can_read_body:
        return fit(model, {})
    if request.content_type != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"The body must be {JSON}.")
    return fit(model, await request.json())


def fit(model: type[ModelT], value: Any) -> ModelT:
    """Return the value as the model; raises ``PayloadError`` with every fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise PayloadError("the body does not fit", code="workflow.body", faults=faults) from error


def idempotency_key(request: web.Request) -> str | None:
    """Return the key that makes a repeated request the same one; raises a 400 problem for what is none."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LETTERS and key.isprintable()):
        raise web.HTTPBadRequest(text=f"Idempotency-Key: 1 to {MAX_KEY_LETTERS} printable characters.")
    return key


def execution_id(request: web.Request) -> str:
    """Return the id in the path; raises ``ExecutionNotFoundError`` for what can be none."""
    text = request.match_info["id"]
    if not is_id(text):
        raise not_found(text)
    return text


def is_id(text: str) -> bool:
    """Tell whether ``text`` is written like the ids of executions."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def read_query(request: web.Request, names: Collection[str]) -> dict[str, str]:
    """Return the query parameters; raises a 400 problem for one that is not in ``names`` or is given twice."""
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in names:
            known = f"one of: {', '.join(names)}" if names else "there is none"
            raise web.HTTPBadRequest(text=f"{name[:100]!r} is no parameter here; {known}.")
        if name in values:
            raise web.HTTPBadRequest(text=f"{name} is given twice.")
        values[name] = value
    return values


def flag(text: str | None, name: str) -> bool:
    """Return a query parameter that is true or false; raises a 400 problem for anything else."""
    if text not in (None, "true", "false"):
        raise web.HTTPBadRequest(text=f"{name} is {text[:20]!r}; true or false.")
    return text == "true"


def page_items(text: str | None) -> int:
    """Return how many items a page has; raises a 400 problem unless it is 1 to 200."""
    if text is None:
        return PAGE_ITEMS
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE_ITEMS):
        raise web.HTTPBadRequest(text=f"limit is {text[:20]!r}; 1 to {MAX_PAGE_ITEMS}.")
    return int(text)


def number(text: str, what: str) -> int:
    """Return a number in a path or query; raises a 400 problem for what is none."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 9):
        raise web.HTTPBadRequest(text=f"{what} is {text[:20]!r}, no number.")
    return int(text)
