"""Where tasks are started, cancelled and retried: the same for HTTP, for the command line and for other plugins."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from builtin_plugins.async_task.errors import TaskConflictError, TaskNotFoundError
from builtin_plugins.async_task.form import TaskForm
from builtin_plugins.async_task.key import KEY
from builtin_plugins.async_task.kinds import find_form, read_params, task_forms
from builtin_plugins.async_task.records import TaskRow, find_request, find_tasks, new_id, next_tag
from builtin_plugins.async_task.standing import Standing, stand
from builtin_plugins.async_task.tables import tasks
from builtin_plugins.async_task.task import CHANGED
from nocohost import App, JobNotFoundError, PayloadError, Principal, StoredFile, StoreError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TITLE_LETTERS = 200
OPERATE = "task.operate"
CONFLICT = "store.conflict"
OVER = ("failed", "cancelled")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be started: its kind, its params as JSON, its owner's words for it, and what came with it."""

    kind: str
    params: Any
    title: str | None = None
    upload: StoredFile | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A task that may be started."""

    form: TaskForm
    params: Mapping[str, Any] = field(repr=False)
    permissions: Sequence[str] = ()
    """What whoever starts it must be allowed."""


class Desk:
    """Starts, finds, cancels and retries tasks on behalf of a principal, who sees no tasks but their own.

    Whoever may ``task.operate`` sees and does everything.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def kinds(self) -> Collection[str]:
        """Return the kinds of tasks that can be started here."""
        return task_forms(self._app).keys()

    def check(self, new: NewTask) -> Checked:
        """Return the task checked against its form; raises ``TaskKindNotFoundError`` and ``PayloadError``."""
        form = find_form(self._app, new.kind)
        model, params = read_params(form, new.params)
        if form.needs_file and new.upload is None:
            raise PayloadError(f"{form.kind} needs a file", code="task.file", hint="upload one with the params")
        if not form.needs_file and new.upload is not None:
            raise PayloadError(f"{form.kind} takes no file", code="task.file")
        if new.upload is not None and form.file_bytes is not None and new.upload.size > form.file_bytes:
            raise PayloadError(
                f"the file has {new.upload.size} bytes; {form.kind} takes {form.file_bytes}", code="task.file"
            )
        title = new.title
        if title is not None and not (0 < len(title) <= TITLE_LETTERS and title.isprintable()):
            raise PayloadError(
                "the title cannot be", code="task.title", hint=f"1 to {TITLE_LETTERS} printable characters"
            )
        return Checked(form, params, self._permissions(form, model))

    async def start(self, new: NewTask, owner: str) -> Standing:
        """Make the task and its job in one transaction; raises what ``check`` does, and ``TaskConflictError``.

        The same idempotency key of the same owner with the same task returns the first one.
        """
        checked = self.check(new)
        try:
            return await self._start(new, checked, owner)
        except StoreError as error:
            if error.code != CONFLICT or new.idempotency_key is None:
                raise
        return await self._start(new, checked, owner)  # its twin came first, and is there now

    async def permissions_of(self, task_id: str) -> Sequence[str]:
        """Return what whoever started this task now would have to be allowed; raises what ``check`` does of params."""
        async with self._app.database.connect() as connection:
            query = select(tasks.c.kind, tasks.c.params).where(tasks.c.id == task_id)
            row = (await connection.execute(query)).first()
        if row is None:
            raise _not_found(task_id)
        form = find_form(self._app, row.kind)
        return self._permissions(form, read_params(form, row.params)[0])

    async def start_within(self, connection: "AsyncConnection", new: NewTask, owner: str) -> str:
        """Make the task and its job in the caller's transaction, and return its id; raises what ``check`` does.

        For other plugins, that start tasks without files or idempotency keys.
        """
        return await self._insert(connection, new, self.check(new), owner)

    async def find_over(self, ids: Sequence[str]) -> set[str]:
        """Return which of these tasks are over, those that are gone included."""
        async with self._app.database.connect() as connection:
            rows = await find_tasks(connection, ids)
        standings = await stand(self._app, list(rows.values()))
        return set(ids) - {one.row.id for one in standings if one.row.is_open}

    async def warnings_of(self, ids: Sequence[str]) -> Sequence[Mapping[str, str]]:
        """Return what keeps these tasks waiting, such as a key that nobody serves."""
        async with self._app.database.connect() as connection:
            rows = await find_tasks(connection, ids)
        return [warning for one in await stand(self._app, list(rows.values())) for warning in one.warnings]

    async def cancel_within(self, connection: "AsyncConnection", task_id: str) -> None:
        """Cancel a task in the caller's transaction.

        Raises ``TaskNotFoundError``, and for a task that is over by its job ``JobConflictError``, ``JobNotFoundError``.
        """
        row = (await find_tasks(connection, [task_id])).get(task_id)
        if row is None:
            raise _not_found(task_id)
        await self._app.queue.cancel(row.job_id, connection=connection)
        await self._app.signals.send(CHANGED, {"id": task_id}, connection=connection)

    async def _start(self, new: NewTask, checked: Checked, owner: str) -> Standing:
        request = None if new.idempotency_key is None else _request(new, checked)
        async with self._app.database.begin() as connection:
            if request is not None and (first := await find_request(connection, owner, request[0])):
                return await self._repeated(connection, first, request[1])
            task_id = await self._insert(connection, new, checked, owner)
            row = (await find_tasks(connection, [task_id]))[task_id]
        (standing,) = await stand(self._app, [row])
        return standing

    async def _insert(self, connection: "AsyncConnection", new: NewTask, checked: Checked, owner: str) -> str:
        task_id = new_id()
        tag = await next_tag(connection, owner)
        job = await self._app.queue.enqueue(KEY, {"task": task_id}, connection=connection, priority=tag)
        await connection.execute(insert(tasks).values(self._values(new, checked, owner, task_id, job.id, tag)))
        if new.upload is not None:
            await self._app.storage.keep(new.upload.id, connection=connection)
        return task_id

    async def find(self, task_id: str, principal: Principal) -> Standing:
        """Return a task of the principal's; raises ``TaskNotFoundError``, for somebody else's too."""
        async with self._app.database.connect() as connection:
            row = (await find_tasks(connection, [task_id])).get(task_id)
        found = await stand(self._app, [self._allowed(row, task_id, principal)])
        if not found:
            raise _not_found(task_id)
        return found[0]

    async def cancel(self, task_id: str, principal: Principal) -> Standing:
        """Cancel a task that waits, or ask a running one to stop; raises ``TaskConflictError`` for one that is over."""
        standing = await self.find(task_id, principal)
        if not standing.row.is_open:
            raise TaskConflictError(f"the task is over: {standing.state}", hint="only what is not over is cancelled")
        await self._app.queue.cancel(standing.row.job_id)
        await self._app.signals.send(CHANGED, {"id": task_id})
        return await self.find(task_id, principal)

    async def retry(self, task_id: str, principal: Principal) -> Standing:
        """Put a failed or cancelled task back to pending; it goes on from its checkpoint.

        Raises ``TaskConflictError`` for any other.
        """
        standing = await self.find(task_id, principal)
        row = standing.row
        if row.state not in OVER:
            raise TaskConflictError(f"the task is {standing.state}", hint="only failed and cancelled tasks are retried")
        async with self._app.database.begin() as connection:
            tag = await next_tag(connection, row.owner)
            try:
                job_id = (await self._app.queue.retry(row.job_id, connection=connection)).id
            except JobNotFoundError:
                job = await self._app.queue.enqueue(KEY, {"task": row.id}, connection=connection, priority=tag)
                job_id = job.id
            changed = {"state": "pending", "job_id": job_id, "attempts": 0, "error": None, "finished_at": None}
            await connection.execute(update(tasks).where(tasks.c.id == row.id, tasks.c.state.in_(OVER)).values(changed))
        await self._app.signals.send(CHANGED, {"id": task_id})
        return await self.find(task_id, principal)

    def _permissions(self, form: TaskForm, model: Any) -> Sequence[str]:
        more = () if form.permissions_of is None else form.permissions_of(model, self._app)
        return (form.permission, *more)

    def _allowed(self, row: TaskRow | None, task_id: str, principal: Principal) -> TaskRow:
        if row is None or not (row.owner == principal.id or principal.may(OPERATE)):
            raise _not_found(task_id)
        return row

    async def _repeated(self, connection: "AsyncConnection", first: TaskRow, digest: str) -> Standing:
        asked = await connection.scalar(tasks.select().with_only_columns(tasks.c.digest).where(tasks.c.id == first.id))
        if asked != digest:
            raise TaskConflictError("this idempotency key came with another task before", hint="take a new key")
        return Standing(first, (await self._app.queue.find([first.job_id], connection=connection)).get(first.job_id))

    def _values(
        self, new: NewTask, checked: Checked, owner: str, task_id: str, job_id: str, tag: int
    ) -> dict[str, Any]:
        request, digest = (None, None) if new.idempotency_key is None else _request(new, checked)
        return {
            "id": task_id,
            "kind": new.kind,
            "title": new.title or checked.form.title,
            "owner": owner,
            "params": checked.params,
            "upload": None if new.upload is None else new.upload.id,
            "upload_name": None if new.upload is None else new.upload.name,
            "request": request,
            "digest": digest,
            "state": "pending",
            "tag": tag,
            "job_id": job_id,
            "fence": 0,
            "attempts": 0,
            "row_errors": 0,
            "created_at": self._app.clock.now(),
        }


def _request(new: NewTask, checked: Checked) -> tuple[str, str]:
    """Return digests of an idempotency key, and of what came with it."""
    body = [new.kind, checked.params, new.title, None if new.upload is None else new.upload.sha256]
    text = json.dumps(body, sort_keys=True)
    return sha256(str(new.idempotency_key).encode()).hexdigest(), sha256(text.encode()).hexdigest()


def _not_found(task_id: str) -> TaskNotFoundError:
    return TaskNotFoundError(f"there is no task {task_id[:100]!r}", hint="it may be over, and past its retention")
