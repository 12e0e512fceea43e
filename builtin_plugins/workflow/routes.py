"""``/api/v1/workflows``, ``/api/v1/executions`` and the webhooks; loaded only on nodes that serve requests."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from builtin_plugins.workflow import descriptions as of
from builtin_plugins.workflow.bodies import (
    EnableBody,
    NewExecutionBody,
    RetryBody,
    SignalBody,
    execution_id,
    flag,
    number,
    read_body,
    workflow_name,
)
from builtin_plugins.workflow.errors import ExecutionNotFoundError
from builtin_plugins.workflow.execution_desk import ExecutionDesk, Shown, not_found
from builtin_plugins.workflow.hooks import HOOK, Hooks
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.records import OPEN, STATES, find_executions, list_executions
from builtin_plugins.workflow.schema import definition_schema
from builtin_plugins.workflow.versions import find_version, find_workflow, list_versions, list_workflows
from builtin_plugins.workflow.view import (
    execution_json,
    step_types_json,
    stored_json,
    version_json,
    workflow_json,
)
from builtin_plugins.workflow.watch import Watch
from builtin_plugins.workflow.workflow_desk import WorkflowDesk
from nocohost import (
    PRINCIPAL,
    App,
    Principal,
    Route,
    api_route,
    hookimpl,
    idempotency_key,
    is_id,
    page_items,
    read_query,
    route,
    stream_changes,
)

READ = "workflow.read"
WRITE = "workflow.write"
RUN = "workflow.run"
OPERATE = "workflow.operate"


class WorkflowRoutes:
    """The routes of workflows."""

    def __init__(self, app: App, library: Library) -> None:
        self._app = app
        self._library = library
        self._desk = WorkflowDesk(app, library)

    async def store(self, request: web.Request) -> web.Response:
        """Store a version: 201 with what was stored."""
        query = read_query(request, ("enable",))
        enable = flag(query.get("enable"), "enable")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="The body must be application/json.")
        stored = await self._desk.store(await request.json(), request[PRINCIPAL].id, enable=enable)
        headers = {hdrs.LOCATION: f"{of.WORKFLOWS}/{stored.workflow.name}"}
        return web.json_response(stored_json(stored), status=201, headers=headers)

    async def list(self, request: web.Request) -> web.Response:
        """List workflows."""
        query = read_query(request, ("after", "limit"))
        limit = page_items(query.get("limit"))
        async with self._app.database.connect() as connection:
            rows = await list_workflows(connection, limit=limit + 1, after=query.get("after"))
        after = rows[limit - 1].name if len(rows) > limit else None
        return web.json_response({"items": [workflow_json(row) for row in rows[:limit]], "next": after})

    async def show(self, request: web.Request) -> web.Response:
        """Show one workflow."""
        read_query(request, ())
        async with self._app.database.connect() as connection:
            return web.json_response(workflow_json(await find_workflow(connection, workflow_name(request))))

    async def remove(self, request: web.Request) -> web.Response:
        """Remove a workflow."""
        read_query(request, ())
        await self._desk.remove(workflow_name(request))
        return web.Response(status=204)

    async def list_versions(self, request: web.Request) -> web.Response:
        """List the versions of a workflow."""
        query, name = read_query(request, ("after", "limit")), workflow_name(request)
        limit = page_items(query.get("limit"))
        before = number(query["after"], "after") if "after" in query else None
        async with self._app.database.connect() as connection:
            await find_workflow(connection, name)
            rows = await list_versions(connection, name, limit=limit + 1, before=before)
        after = str(rows[limit - 1].number) if len(rows) > limit else None
        return web.json_response({"items": [version_json(row) for row in rows[:limit]], "next": after})

    async def show_version(self, request: web.Request) -> web.Response:
        """Show one version."""
        read_query(request, ())
        wanted = number(request.match_info["version"], "version")
        async with self._app.database.connect() as connection:
            return web.json_response(version_json(await find_version(connection, workflow_name(request), wanted)))

    async def enable(self, request: web.Request) -> web.Response:
        """Enable a version."""
        read_query(request, ())
        body = await read_body(request, EnableBody)
        return web.json_response(stored_json(await self._desk.enable(workflow_name(request), body.version)))

    async def disable(self, request: web.Request) -> web.Response:
        """Disable a workflow."""
        read_query(request, ())
        return web.json_response(workflow_json(await self._desk.disable(workflow_name(request))))

    async def list_step_types(self, request: web.Request) -> web.Response:
        """List the types of steps."""
        read_query(request, ())
        return web.json_response({"items": step_types_json(self._library.forms), "next": None})

    async def show_schema(self, request: web.Request) -> web.Response:
        """Send the JSON Schema of a definition."""
        read_query(request, ())
        text = json.dumps(definition_schema(self._library.forms))
        return web.Response(text=text, content_type="application/schema+json")


class ExecutionRoutes:
    """The routes of executions."""

    def __init__(self, app: App, library: Library) -> None:
        self._app = app
        self._desk = ExecutionDesk(app, library)
        self._watch = Watch(app, self._json_if_there)

    async def start(self, request: web.Request) -> web.Response:
        """Start an execution: 202 with it and its ``Location``, or 200 once it has ended."""
        read_query(request, ())
        key = idempotency_key(request)
        body = await read_body(request, NewExecutionBody)
        row = await self._desk.start(
            workflow_name(request),
            body.input,
            request[PRINCIPAL].id,
            idempotency_key=key,
            waited=bool(body.wait_seconds),
        )
        if body.wait_seconds and row.is_open:
            await self._desk.ends.wait(row.id, body.wait_seconds)
            shown = await self._desk.whole(row.id)
            return _answer(shown, 202 if shown.row.is_open else 200)
        return await self._answered(row.id, 202 if row.is_open else 200)

    async def list(self, request: web.Request) -> web.Response:
        """List executions, newest first."""
        query = read_query(request, ("workflow", "state", "parent", "after", "limit"))
        principal, limit = request[PRINCIPAL], page_items(query.get("limit"))
        state = query.get("state")
        if state is not None and state not in STATES:
            raise web.HTTPBadRequest(text=f"{state[:100]!r} is no state; one of: {', '.join(STATES)}.")
        if "after" in query and not is_id(query["after"]):
            raise web.HTTPBadRequest(text="after is no cursor; take it from next of the page before.")
        async with self._app.database.connect() as connection:
            rows = await list_executions(
                connection,
                limit=limit + 1,
                after=query.get("after"),
                workflow=query.get("workflow"),
                states=() if state is None else (state,),
                parent=query.get("parent"),
                created_by=None if principal.may(OPERATE) else principal.id,
            )
        items = [execution_json(Shown(row, []), with_steps=False) for row in rows[:limit]]
        return web.json_response({"items": items, "next": rows[limit - 1].id if len(rows) > limit else None})

    async def show(self, request: web.Request) -> web.Response:
        """Show one execution with its steps."""
        read_query(request, ())
        return web.json_response(await self._json(await self._allowed(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        """Ask an execution to end."""
        read_query(request, ())
        found = await self._allowed(request)
        principal = _actor(request)
        await self._desk.cancel(found, f"cancelled by {principal.id}")
        return await self._answered(found, 202)

    async def retry(self, request: web.Request) -> web.Response:
        """Go on with what has failed."""
        read_query(request, ())
        found = await self._allowed(request)
        _actor(request)
        body = await read_body(request, RetryBody)
        await self._desk.retry(found, body.start)
        return await self._answered(found, 202)

    async def signal(self, request: web.Request) -> web.Response:
        """Send a signal."""
        read_query(request, ())
        found = await self._allowed(request)
        body = await read_body(request, SignalBody)
        name = request.match_info["name"]
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise web.HTTPBadRequest(text="A signal has a name of 1 to 100 printable characters.")
        await self._desk.signal(found, name, body.value, _actor(request).id)
        return await self._answered(found, 202)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send the execution and each change of it as server-sent events."""
        read_query(request, ())
        found = await self._allowed(request)
        last = await self._json(found)

        async def look() -> Mapping[str, Any] | None:
            nonlocal last
            new = await self._watch.look(found, last)
            last = new or last
            return new

        return await stream_changes(request, last, look, lambda execution: execution["state"] not in OPEN)

    async def _allowed(self, request: web.Request) -> str:
        """Return the id in the path; somebody else's is not found."""
        found, principal = execution_id(request), request[PRINCIPAL]
        async with self._app.database.connect() as connection:
            row = (await find_executions(connection, [found])).get(found)
        if row is None or not (row.created_by == principal.id or principal.may(OPERATE)):
            raise not_found(found)
        return found

    async def _answered(self, found: str, status: int) -> web.Response:
        return _answer(await self._desk.whole(found), status)

    async def _json(self, found: str) -> Mapping[str, Any]:
        return execution_json(await self._desk.whole(found))

    async def _json_if_there(self, found: str) -> Mapping[str, Any] | None:
        try:
            return await self._json(found)
        except ExecutionNotFoundError:
            return None


def _answer(shown: Shown, status: int) -> web.Response:
    headers = {hdrs.LOCATION: f"{of.EXECUTIONS}/{shown.row.id}"}
    return web.json_response(execution_json(shown), status=status, headers=headers)


@hookimpl
def serve_requests(app: App) -> list[Route]:
    """Offer the API of workflows, and their webhooks."""
    library = Library(app)
    one, run, hooks = WorkflowRoutes(app, library), ExecutionRoutes(app, library), Hooks(app, library)
    started = f"{of.WORKFLOW}/executions"
    version = f"{of.WORKFLOW}/versions/{{version}}"
    return [
        api_route("POST", of.WORKFLOWS, one.store, permission=WRITE, api=of.STORE),
        api_route("GET", of.WORKFLOWS, one.list, permission=READ, api=of.LIST),
        api_route("GET", of.WORKFLOW, one.show, permission=READ, api=of.SHOW),
        api_route("DELETE", of.WORKFLOW, one.remove, permission=WRITE, api=of.REMOVE),
        api_route("GET", f"{of.WORKFLOW}/versions", one.list_versions, permission=READ, api=of.VERSIONS),
        api_route("GET", version, one.show_version, permission=READ, api=of.VERSION),
        api_route("POST", f"{of.WORKFLOW}/enable", one.enable, permission=WRITE, api=of.ENABLE),
        api_route("POST", f"{of.WORKFLOW}/disable", one.disable, permission=WRITE, api=of.DISABLE),
        api_route("POST", started, run.start, permission=RUN, api=of.START),
        api_route("GET", of.EXECUTIONS, run.list, permission=READ, api=of.EXECUTION_LIST),
        api_route("GET", of.EXECUTION, run.show, permission=READ, api=of.EXECUTION_SHOW),
        api_route("POST", f"{of.EXECUTION}/cancel", run.cancel, permission=READ, api=of.CANCEL),
        api_route("POST", f"{of.EXECUTION}/retry", run.retry, permission=READ, api=of.RETRY),
        api_route("POST", f"{of.EXECUTION}/signals/{{name}}", run.signal, permission=READ, api=of.SIGNAL),
        api_route("GET", f"{of.EXECUTION}/events", run.follow, permission=READ, api=of.EVENTS),
        api_route("GET", "/api/v1/step-types", one.list_step_types, permission=READ, api=of.STEP_TYPES),
        api_route("GET", "/api/v1/workflow-schema", one.show_schema, permission=READ, api=of.SCHEMA),
        route("POST", HOOK, hooks.receive, public=True),
    ]


def _actor(request: web.Request) -> Principal:
    """Return who sent the request, if they may act on executions at all: a token that only reads may not."""
    principal: Principal = request[PRINCIPAL]
    if not (principal.may(RUN) or principal.may(OPERATE)):
        raise web.HTTPForbidden(text=f"{principal.id!r} may neither {RUN} nor {OPERATE}.")
    return principal
