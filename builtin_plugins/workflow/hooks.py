"""Webhooks: a request to a secret URL starts an execution; there is no other right to ask for."""

from aiohttp import web
from sqlalchemy import select

from builtin_plugins.workflow.charset import decoded
from builtin_plugins.workflow.execution_desk import ExecutionDesk
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.tables import workflows
from builtin_plugins.workflow.triggers import SYSTEM, wanted
from builtin_plugins.workflow.versions import enabled_version
from builtin_plugins.workflow.workflow_desk import HOOKS, hook_digest
from nocohost import App

HOOK = f"{HOOKS}/{{secret}}"
SHOWN_HEADERS = ("content-type", "user-agent", "idempotency-key")
BODY_BYTES = 1024 * 1024


class Hooks:
    """Receives webhooks."""

    def __init__(self, app: App, library: Library) -> None:
        self._app = app
        self._library = library
        self._desk = ExecutionDesk(app, library)

    async def receive(self, request: web.Request) -> web.Response:
        """Start an execution: 202 with its id; 404 for a URL that is no webhook's; 200 where its ``when`` says no."""
        digest = hook_digest(request.match_info["secret"])
        async with self._app.database.connect() as connection:
            name = await connection.scalar(select(workflows.c.name).where(workflows.c.hook == digest))
            if name is None:
                raise web.HTTPNotFound(text="There is no such webhook.")
            number, _ = await enabled_version(connection, name)
            definition, _ = await self._library.find(connection, name, number)
        headers = {one: request.headers[one] for one in SHOWN_HEADERS if one in request.headers}
        trigger = {
            "type": "webhook",
            "body": await self._body(request),
            "query": dict(request.query),
            "headers": headers,
        }
        if not wanted(self._app, definition, trigger):
            return web.json_response({"execution": None})
        key = request.headers.get("Idempotency-Key") or None
        row = await self._desk.start(name, None, SYSTEM, trigger_type="webhook", trigger=trigger, idempotency_key=key)
        return web.json_response({"execution": row.id}, status=202)

    async def _body(self, request: web.Request) -> object:
        if request.content_length is not None and request.content_length > BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(BODY_BYTES, request.content_length)
        if request.content_type == "application/json":
            return await request.json()
        return decoded(await request.read(), request.charset or "utf-8")
