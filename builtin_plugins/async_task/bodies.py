"""The bodies and queries of requests about tasks, read strictly."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from builtin_plugins.async_task.desk import NewTask
from builtin_plugins.async_task.errors import TaskNotFoundError
from nocohost import APP, NocohostError, fit_model, idempotency_key, is_id, read_model, receive_form, strict_loads

JSON = "application/json"
MULTIPART = "multipart/form-data"


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
    body = await read_model(request, NewTaskBody)
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
        body = fit_model(NewTaskBody, values)
    except (web.HTTPException, NocohostError):
        for file in form.files.values():
            await request.app[APP].storage.remove(file.id)
        raise
    return NewTask(body.kind, body.params, body.title, form.files.get("file"), idempotency_key(request))


def _json_part(text: str) -> Any:
    try:
        return strict_loads(text.encode())
    except NocohostError as error:
        raise web.HTTPBadRequest(text=f"The part 'params': {error.message}") from error


def task_id(request: web.Request) -> str:
    """Return the id in the path; raises ``TaskNotFoundError`` for what can be none."""
    text = request.match_info["id"]
    if not is_id(text):
        raise TaskNotFoundError(f"there is no task {text[:100]!r}")
    return text
