"""Tasks: jobs that a person starts, watches and cancels, and gets a file from; the guest behind ``async-task:process``.

Other plugins add kinds of tasks. What a kind takes is declared with ``register_task_forms`` in
``nocohost.declarations``, so that every node can check it; what it does is registered with ``register_task_kinds`` in
an entry point ``async-task:process/<name>`` of ``nocohost.extensions``, which only the nodes that run tasks import.
"""

from builtin_plugins.async_task.desk import Desk as TaskDesk
from builtin_plugins.async_task.desk import NewTask as NewTask
from builtin_plugins.async_task.errors import TaskConflictError as TaskConflictError
from builtin_plugins.async_task.errors import TaskError as TaskError
from builtin_plugins.async_task.errors import TaskFailedError as TaskFailedError
from builtin_plugins.async_task.errors import TaskNotFoundError as TaskNotFoundError
from builtin_plugins.async_task.form import TaskForm as TaskForm
from builtin_plugins.async_task.key import KEY as KEY
from builtin_plugins.async_task.kind import TaskKind as TaskKind
from builtin_plugins.async_task.kind import TaskResult as TaskResult
from builtin_plugins.async_task.row_error import RowError as RowError
from builtin_plugins.async_task.task import BlockingTask as BlockingTask
from builtin_plugins.async_task.task import Task as Task

__all__ = [
    "KEY",
    "BlockingTask",
    "NewTask",
    "RowError",
    "Task",
    "TaskConflictError",
    "TaskDesk",
    "TaskError",
    "TaskFailedError",
    "TaskForm",
    "TaskKind",
    "TaskNotFoundError",
    "TaskResult",
]
