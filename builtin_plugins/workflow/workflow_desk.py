"""Where workflows are checked, stored, enabled and removed: the same for HTTP and for the command line."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from builtin_plugins.workflow import KEY
from builtin_plugins.workflow.checks import check_names
from builtin_plugins.workflow.definition import Definition
from builtin_plugins.workflow.errors import WorkflowConflictError
from builtin_plugins.workflow.library import Library
from builtin_plugins.workflow.records import OPEN
from builtin_plugins.workflow.tables import executions, signals, steps, versions, workflows
from builtin_plugins.workflow.versions import WorkflowRow, add_version, find_version, find_workflow
from nocohost import App, Schedule, StoreError, Subscription

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

CONFLICT = "store.conflict"
HOOKS = "/workflow-hooks"


@dataclass(frozen=True, slots=True)
class Stored:
    """A version that was stored, or is stored already."""

    workflow: WorkflowRow
    number: int
    is_new: bool
    hook: str | None = None
    """The path of the webhook, told once: when its secret was made."""


class WorkflowDesk:
    """Checks, stores and enables workflows."""

    def __init__(self, app: App, library: Library) -> None:
        self._app = app
        self._library = library

    def check(self, value: Any) -> Definition:
        """Return a definition, checked from declarations; raises ``DefinitionError`` with every fault."""
        definition = self._library.read(value)
        check_names(self._app, definition)
        return definition

    async def store(self, value: Any, created_by: str, *, enable: bool) -> Stored:
        """Store the next version of a workflow, and enable it; the newest one again makes no version."""
        definition = self.check(value)
        try:
            return await self._store(definition, created_by, enable=enable)
        except StoreError as error:
            if error.code != CONFLICT:
                raise
        return await self._store(definition, created_by, enable=enable)  # another one came first, and is there now

    async def _store(self, definition: Definition, created_by: str, *, enable: bool) -> Stored:
        hook = None
        async with self._app.database.begin() as connection:
            number, is_new = await add_version(
                connection, definition.document, definition.title, created_by, self._app.clock.now()
            )
            if enable:
                hook = await self._enable(connection, definition, number)
            row = await find_workflow(connection, definition.name)
        return Stored(row, number, is_new, hook)

    async def enable(self, name: str, number: int | None = None) -> Stored:
        """Enable a version, the newest without a number, in place of the one that was."""
        async with self._app.database.begin() as connection:
            version = await find_version(connection, name, number)
            definition = self.check(version.definition)
            hook = await self._enable(connection, definition, version.number)
            row = await find_workflow(connection, name)
        return Stored(row, version.number, False, hook)

    async def disable(self, name: str) -> WorkflowRow:
        """Let a workflow start nothing more; what runs goes on."""
        async with self._app.database.begin() as connection:
            await find_workflow(connection, name)
            await self._app.resources.subscriptions.remove(trigger_name(name), connection=connection)
            await self._app.schedules.remove(trigger_name(name), connection=connection)
            change = update(workflows).where(workflows.c.name == name)
            now = self._app.clock.now()
            await connection.execute(change.values(enabled=None, trigger_type=None, hook=None, updated_at=now))
            return await find_workflow(connection, name)

    async def remove(self, name: str) -> None:
        """Remove a workflow with its versions and executions; refused while any execution is not over.

        Its row stays, unseen: numbers go on where they were if it is made anew, so a version is never another one.
        """
        await self.disable(name)
        async with self._app.database.begin() as connection:
            query = select(executions.c.id).where(executions.c.workflow == name, executions.c.state.in_(OPEN)).limit(1)
            if (await connection.execute(query)).first() is not None:
                raise WorkflowConflictError(
                    f"executions of {name!r} are not over", hint="it starts no more of them; cancel them, or wait"
                )
            ids = select(executions.c.id).where(executions.c.workflow == name)
            for table in (steps, signals):
                await connection.execute(delete(table).where(table.c.execution.in_(ids)))
            await connection.execute(delete(executions).where(executions.c.workflow == name))
            await connection.execute(delete(versions).where(versions.c.name == name))

    async def _enable(self, connection: "AsyncConnection", definition: Definition, number: int) -> str | None:
        """Make a version the one that starts executions; return the path of its webhook if its secret is new."""
        name, trigger = definition.name, definition.trigger
        subscriptions = self._app.resources.subscriptions
        if trigger.type == "resource":
            await subscriptions.set(_subscription(name, trigger.params), connection=connection)
        else:
            await subscriptions.remove(trigger_name(name), connection=connection)
        if trigger.type == "schedule":
            await self._app.schedules.set(_schedule(name, trigger.params), connection=connection)
        else:
            await self._app.schedules.remove(trigger_name(name), connection=connection)
        values: dict[str, Any] = {"enabled": number, "trigger_type": trigger.type, "updated_at": self._app.clock.now()}
        path = None
        known = await connection.scalar(select(workflows.c.hook).where(workflows.c.name == name))
        if trigger.type != "webhook":
            values["hook"] = None
        elif known is None:
            secret = secrets.token_urlsafe(32)
            values["hook"] = hook_digest(secret)
            path = f"{HOOKS}/{secret}"
        await connection.execute(update(workflows).where(workflows.c.name == name).values(values))
        return path


def trigger_name(name: str) -> str:
    """Return the name of the subscription or schedule that triggers a workflow."""
    return f"workflow.{name}"


def hook_digest(secret: str) -> str:
    """Return what is stored of the secret of a webhook."""
    return sha256(secret.encode()).hexdigest()


def _subscription(name: str, params: Mapping[str, Any]) -> Subscription:
    fields: Sequence[str] = params.get("fields") or ()
    return Subscription(
        trigger_name(name),
        params["resource"],
        KEY,
        on=tuple(params["on"]),
        fields=tuple(fields),
        data={"workflow": name},
    )


def _schedule(name: str, params: Mapping[str, Any]) -> Schedule:
    return Schedule(
        trigger_name(name),
        KEY,
        {"workflow": name},
        cron=params["cron"],
        timezone=params["timezone"],
        interval_seconds=params["interval_seconds"],
        catch_up=params["catch_up"],
    )
