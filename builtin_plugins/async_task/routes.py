"""``/api/v1/tasks`` and ``/api/v1/task-kinds``; loaded only on nodes that serve requests."""

from collections.abc import Sequence
from typing import Any

from aiohttp import hdrs, web

from builtin_plugins.async_task.bodies import read_task, task_id
from builtin_plugins.async_task.descriptions import (
    CANCEL,
    ERRORS,
    EVENTS,
    KINDS,
    LIST,
    ONE,
    RESULT,
    RETRY,
    SHOW,
    START,
    TASKS,
)
from builtin_plugins.async_task.desk import OPERATE, Desk
from builtin_plugins.async_task.error_file import error_csv
from builtin_plugins.async_task.errors import TaskConflictError, TaskNotFoundError
from builtin_plugins.async_task.kinds import task_forms
from builtin_plugins.async_task.listing import ListQuery, list_page
from builtin_plugins.async_task.records import OPEN
from builtin_plugins.async_task.settings import TaskSettings
from builtin_plugins.async_task.standing import Standing
from builtin_plugins.async_task.stream import Watch
from builtin_plugins.async_task.view import kind_json, task_json
from nocohost import (
    PRINCIPAL,
    App,
    Principal,
    Route,
    StoreError,
    api_route,
    hookimpl,
    idempotency_key,
    page_items,
    read_query,
    send_file,
    stream_changes,
)

CREATE = "task.create"
READ = "task.read"


class TaskRoutes:
    """The routes, with what they share."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._desk = Desk(app)
        self._watch = Watch(app)

    async def start_task(self, request: web.Request) -> web.Response:
        """Start a task: 202 with it and its ``Location``."""
        read_query(request, ())
        principal = request[PRINCIPAL]
        idempotency_key(request)
        new = await read_task(request, self._app.settings(TaskSettings).upload_bytes)
        used: str | None = None
        try:
            _require(principal, self._desk.check(new).permissions)
            standing = await self._desk.start(new, principal.id)
            used = standing.row.upload
        except StoreError:  # the task may be there all the same; if not, the file expires
            used = None if new.upload is None else new.upload.id
            raise
        finally:
            if new.upload is not None and new.upload.id != used:
                await self._app.storage.remove(new.upload.id)
        return _accepted(standing)

    async def list_tasks(self, request: web.Request) -> web.Response:
        """List tasks, newest first."""
        query = read_query(request, ("kind", "state", "owner", "after", "limit"))
        principal = request[PRINCIPAL]
        wanted = ListQuery(
            limit=page_items(query.get("limit")),
            after=query.get("after"),
            kind=query.get("kind"),
            state=query.get("state"),
            owner=query.get("owner") if principal.may(OPERATE) else principal.id,
        )
        if fault := wanted.fault():
            raise web.HTTPBadRequest(text=fault)
        if query.get("owner", wanted.owner) != wanted.owner:
            return web.json_response({"items": [], "next": None})
        items, after = await list_page(self._app, wanted)
        return web.json_response({"items": [task_json(one) for one in items], "next": after})

    async def show_task(self, request: web.Request) -> web.Response:
        """Show one task."""
        read_query(request, ())
        return web.json_response(task_json(await self._find(request)))

    async def cancel_task(self, request: web.Request) -> web.Response:
        """Cancel a task: 200 when it is, 202 when it was asked to stop."""
        read_query(request, ())
        standing = await self._desk.cancel(task_id(request), _actor(request))
        return web.json_response(task_json(standing)) if not standing.row.is_open else _accepted(standing)

    async def retry_task(self, request: web.Request) -> web.Response:
        """Put a failed or cancelled task back to pending; its owner must be allowed what starting it asks."""
        read_query(request, ())
        principal = _actor(request)
        standing = await self._desk.find(task_id(request), principal)
        if standing.row.owner == principal.id:  # an operator retries it for its owner
            _require(principal, await self._desk.permissions_of(standing.row.id))
        return _accepted(await self._desk.retry(standing.row.id, principal))

    async def download_result(self, request: web.Request) -> web.StreamResponse:
        """Send the file that the task has made."""
        read_query(request, ())
        standing = await self._find(request)
        if standing.state != "succeeded":
            raise TaskConflictError(f"the task is {standing.state}", hint="only what has succeeded has a result")
        if standing.row.result_file is None:
            raise TaskNotFoundError("the task has made no file", code="task.no_file", hint="its result is in the task")
        return await send_file(request, standing.row.result_file["id"], check_owner=False)

    async def show_errors(self, request: web.Request) -> web.StreamResponse:
        """Send the row errors as CSV."""
        read_query(request, ())
        standing = await self._find(request)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{standing.row.kind}-errors.csv"',
            }
        )
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in error_csv(self._app, standing.row.id):
                await response.write(piece)
        await response.write_eof()
        return response

    async def follow_events(self, request: web.Request) -> web.StreamResponse:
        """Send the task and each change of it as server-sent events."""
        read_query(request, ())
        last = await self._find(request)

        async def look() -> dict[str, Any] | None:
            nonlocal last
            found = await self._watch.look(last.row.id, last)
            last = found or last
            return None if found is None else task_json(found)

        with self._watch.watching(last.row.id):
            return await stream_changes(request, task_json(last), look, lambda task: task["state"] not in OPEN)

    async def list_kinds(self, request: web.Request) -> web.Response:
        """List the kinds of tasks, with the schema of their params."""
        read_query(request, ())
        forms = task_forms(self._app)
        return web.json_response({"items": [kind_json(forms[kind]) for kind in sorted(forms)], "next": None})

    async def _find(self, request: web.Request) -> Standing:
        return await self._desk.find(task_id(request), request[PRINCIPAL])


@hookimpl
def serve_requests(app: App) -> list[Route]:
    """Offer the API of tasks."""
    routes = TaskRoutes(app)
    return [
        api_route("POST", TASKS, routes.start_task, permission=CREATE, api=START),
        api_route("GET", TASKS, routes.list_tasks, permission=READ, api=LIST),
        api_route("GET", ONE, routes.show_task, permission=READ, api=SHOW),
        api_route("POST", f"{ONE}/cancel", routes.cancel_task, permission=READ, api=CANCEL),
        api_route("POST", f"{ONE}/retry", routes.retry_task, permission=READ, api=RETRY),
        api_route("GET", f"{ONE}/result", routes.download_result, permission=READ, api=RESULT),
        api_route("GET", f"{ONE}/errors", routes.show_errors, permission=READ, api=ERRORS),
        api_route("GET", f"{ONE}/events", routes.follow_events, permission=READ, api=EVENTS),
        api_route("GET", "/api/v1/task-kinds", routes.list_kinds, permission=READ, api=KINDS),
    ]


def _actor(request: web.Request) -> Principal:
    """Return who sent the request, if they may act on tasks at all: an owner's token that only reads may not."""
    principal = request[PRINCIPAL]
    if not (principal.may(CREATE) or principal.may(OPERATE)):
        raise web.HTTPForbidden(text=f"{principal.id!r} may neither {CREATE} nor {OPERATE}.")
    return principal


def _require(principal: Principal, permissions: Sequence[str]) -> None:
    for permission in permissions:
        if not principal.may(permission):
            raise web.HTTPForbidden(text=f"{principal.id!r} may not do {permission}, which this task asks.")


def _accepted(standing: Standing) -> web.Response:
    headers = {hdrs.LOCATION: f"{TASKS}/{standing.row.id}"}
    return web.json_response(task_json(standing), status=202, headers=headers)
