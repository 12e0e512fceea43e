"""A plugin whose tasks take as long, go as far and end as badly as their params say."""

from plugins.wheels import Wheel

FORMS = """
from pydantic import BaseModel

from builtin_plugins.async_task import TaskForm
from nocohost import hookimpl


class ToilParams(BaseModel):
    steps: int = 3
    seconds: float = 0.0
    do: str = ""
    at: int = 0
    notes: str = ""


@hookimpl
def register_task_forms():
    kinds = ("toil", "toil-awaited", "toil-small", "toil-once", "toil-brief")
    copy = TaskForm("toil-copy", "Copy", ToilParams, needs_file=True, file_bytes=100_000)
    return [copy, *(TaskForm(kind, kind, ToilParams) for kind in kinds)]
"""
KINDS = '''
import ctypes
import os
import signal
import time
from pathlib import Path

from sqlalchemy import text

from builtin_plugins.async_task import RowError, TaskFailedError, TaskKind, TaskResult
from nocohost import hookimpl

MARK = "INSERT INTO toil_steps (task, step, node) VALUES (:task, :step, :node)"


def misbehave(do):
    """End or hang in the way that is asked for."""
    if do == "segfault":
        ctypes.string_at(0)
    elif do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "raise":
        raise ValueError("the tool broke")
    elif do == "fail":
        raise TaskFailedError("this can never be done")
    elif do == "hog":
        hoard = []
        while len(hoard) < 4000:
            hoard.append(bytearray(1 << 20))
    elif do == "hang":
        time.sleep(60)
    elif do == "odd":
        return {1, 2}
    return None


def note(params, word):
    """Write a word into the file that the params name."""
    if params.notes:
        with Path(params.notes).open("a") as notes:
            notes.write(f"{word} {os.getpid()}\\n")


def toil(task, app):
    """Go step by step, each in a transaction with its checkpoint."""
    params = task.params
    note(params, "begun")
    reached = task.checkpoint or {"next": 0, "errors": 0}
    task.cut_row_errors(reached["errors"])
    for step in range(reached["next"], params.steps):
        if params.do == "refuse" and step == params.at:
            task.add_row_errors([RowError(step + 1, "step", "", "is refused")])
            raise TaskFailedError("a row is refused")
        if params.do and step == params.at:
            odd = misbehave(params.do)
            if odd is not None:
                return odd
        time.sleep(params.seconds)
        with task.transaction() as connection:
            connection.execute(text(MARK), {"task": task.id, "step": step, "node": app.node.name})
            odd = [RowError(step + 1, "=cmd", "@value", f"step {step} is odd")] if step % 2 else []
            task.save_checkpoint({"next": step + 1, "errors": task.add_row_errors(odd)})
            task.progress(step + 1, params.steps, "steps")
    return TaskResult(value={"steps": params.steps, "attempt": task.attempt})


async def toil_awaited(task, app):
    """The same, for an event loop."""
    params = task.params
    for step in range((task.checkpoint or {"next": 0})["next"], params.steps):
        if params.do and step == params.at:
            misbehave(params.do)
        await app.clock.sleep(params.seconds)
        async with task.transaction() as connection:
            await connection.execute(text(MARK), {"task": task.id, "step": step, "node": app.node.name})
            await task.save_checkpoint({"next": step + 1})
        await task.progress(step + 1, params.steps, "steps")
        await task.add_row_errors([RowError(step + 1, "field", "value", "because")])
    await task.add_row_errors([RowError(99, "field", "value", "found again by whoever goes on")])
    await task.cut_row_errors(params.steps)
    return TaskResult(value={"steps": params.steps, "attempt": task.attempt})


def toil_copy(task, app):
    """Copy what was uploaded, in capitals."""
    with app.storage.open(task.upload) as source:
        content = source.read()
    with app.storage.create(name=f"copy of {task.upload_name}", media_type="text/plain", owner=task.owner) as target:
        target.write(content.upper())
    return TaskResult(file=target.stored.id, value={"bytes": len(content)})


@hookimpl
def register_task_kinds(app):
    return [
        TaskKind("toil-copy", toil_copy),
        TaskKind("toil", toil),
        TaskKind("toil-awaited", toil_awaited),
        TaskKind("toil-small", toil, memory_mib=200, attempts=1),
        TaskKind("toil-once", toil, attempts=1),
        TaskKind("toil-brief", toil, timeout_seconds=1, attempts=1),
    ]
'''
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "toil_steps",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
    )


def downgrade():
    op.drop_table("toil_steps")
"""
TOIL = Wheel(
    "toil",
    {
        "toil/__init__.py": "",
        "toil/declarations.py": FORMS,
        "toil/kinds.py": KINDS,
        "toil/migrations/__init__.py": "RUNNABLE_FROM = '1.0'\n",
        "toil/migrations/versions/__init__.py": "",
        "toil/migrations/versions/0001_steps.py": MIGRATION,
    },
    {
        "declarations": {"toil": "toil.declarations"},
        "extensions": {"async-task:process/toil": "toil.kinds"},
        "migrations": {"toil": "toil.migrations"},
    },
)
