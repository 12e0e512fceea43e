"""The bodies and queries of requests about tasks, read strictly."""

import json
from collections.abc import Collection
from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builtin_plugins.async_task.desk import NewTask
from builtin_plugins.async_task.errors import TaskNotFoundError
from builtin_plugins.async_task.kinds import faults_of
from nocohost import APP, NocohostError, PayloadError, receive_form

JSON = "application/json"
MULTIPART = "multipart/form-data"
PAGE_ITEMS = 100
MAX_PAGE_ITEMS = 200
MAX_KEY_LETTERS = 255
ModelT = TypeVar("ModelT", bound=BaseModel)


class NewTaskBody(BaseModel):
    """The body of ``POST /api/v1/tasks``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str = Field(max_length=200, examples=["export"])
    params: dict[str, Any] = Field({}, description="what the kind takes; /api/v1/task-kinds tells")
    title: str | None = Field(None, min_length=1, max_length=200, description="unset: the title of the kind")


class NewTaskForm(BaseModel):
    """The parts of a multipart ``POST /api/v1/tasks``."""

    params: str = Field(description="a JSON object, what the kind takes")
    file: bytes = Field(description="the file that the kind works on")
    kind: str = Field("import", description="the kind of the task")
    title: str | None = Field(None, description="unset: the title of the kind")


async def read_task(request: web.Request, upload_bytes: int) -> NewTask:
    """Return the task that a request wants to start; raises problems for what is no such request.

    A file that came with it is stored by then, and is the caller's to keep or remove.
    """
    if request.content_type == MULTIPART:
        return await _read_form(request, upload_bytes)
    if request.content_type != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"The body must be {JSON}, or {MULTIPART} with a file.")
    body = fit(NewTaskBody, await request.json())
    return NewTask(body.kind, body.params, body.title, None, idempotency_key(request))


async def _read_form(request: web.Request, upload_bytes: int) -> NewTask:
    form = await receive_form(request, max_bytes=upload_bytes)
    try:
        known = set(NewTaskForm.model_fields) - {"file"}
        unknown = (form.fields.keys() - known) | (form.files.keys() - {"file"})
        if unknown or "params" not in form.fields:
            said = f"{min(unknown)[:100]!r} is no part here" if unknown else "there is no part 'params'"
            raise web.HTTPBadRequest(text=f"{said}; the parts are: {', '.join(NewTaskForm.model_fields)}.")
        params = _json_part(form.fields["params"])
        values = {"params": params, "kind": form.fields.get("kind", "import"), "title": form.fields.get("title")}
        body = fit(NewTaskBody, values)
    except (web.HTTPException, NocohostError):
        for file in form.files.values():
            await request.app[APP].storage.remove(file.id)
        raise
    return NewTask(body.kind, body.params, body.title, form.files.get("file"), idempotency_key(request))


def _json_part(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_distinct)
    except RecursionError:
        raise web.HTTPBadRequest(text="The part 'params' is nested too deep.") from None
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"The part 'params' is no JSON: {error}.") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is given twice")
    return members


def fit(model: type[ModelT], value: Any) -> ModelT:
    """Return the value as the model; raises ``PayloadError`` with every fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise PayloadError("the body does not fit", code="task.body", faults=faults_of(error, "body")) from error


def idempotency_key(request: web.Request) -> str | None:
    """Return the key that makes a repeated request the same one; raises a 400 problem for what is none."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LETTERS and key.isprintable()):
        raise web.HTTPBadRequest(text=f"Idempotency-Key: 1 to {MAX_KEY_LETTERS} printable characters.")
    return key


def task_id(request: web.Request) -> str:
    """Return the id in the path; raises ``TaskNotFoundError`` for what can be none."""
    text = request.match_info["id"]
    if not is_id(text):
        raise TaskNotFoundError(f"there is no task {text[:100]!r}")
    return text


def is_id(text: str) -> bool:
    """Tell whether ``text`` is written like the ids of tasks."""
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


def page_items(text: str | None) -> int:
    """Return how many items a page has; raises a 400 problem unless it is 1 to 200."""
    if text is None:
        return PAGE_ITEMS
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE_ITEMS):
        raise web.HTTPBadRequest(text=f"limit is {text[:20]!r}; 1 to {MAX_PAGE_ITEMS}.")
    return int(text)
