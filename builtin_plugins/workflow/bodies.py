"""The bodies and queries of requests about workflows, read strictly."""

from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from builtin_plugins.workflow.execution_desk import not_found
from builtin_plugins.workflow.versions import not_found as no_workflow
from nocohost import fit_model, is_id, read_model

JSON = "application/json"
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
    return await read_model(request, model) if request.can_read_body else fit_model(model, {})


def workflow_name(request: web.Request) -> str:
    """Return the name in the path; raises ``WorkflowNotFoundError`` for what can be none."""
    text = request.match_info["name"]
    if not text.isprintable():
        raise no_workflow(text)
    return text


def execution_id(request: web.Request) -> str:
    """Return the id in the path; raises ``ExecutionNotFoundError`` for what can be none."""
    text = request.match_info["id"]
    if not is_id(text):
        raise not_found(text)
    return text


def flag(text: str | None, name: str) -> bool:
    """Return a query parameter that is true or false; raises a 400 problem for anything else."""
    if text not in (None, "true", "false"):
        raise web.HTTPBadRequest(text=f"{name} is {text[:20]!r}; true or false.")
    return text == "true"


def number(text: str, what: str) -> int:
    """Return a number in a path or query; raises a 400 problem for what is none."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 9):
        raise web.HTTPBadRequest(text=f"{what} is {text[:20]!r}, no number.")
    return int(text)
