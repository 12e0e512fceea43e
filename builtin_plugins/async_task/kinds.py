"""The kinds of tasks that are known here: their forms on every node, what they run in the child of a task."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from builtin_plugins.async_task.errors import TaskNotFoundError
from builtin_plugins.async_task.form import TaskForm
from builtin_plugins.async_task.kind import TaskKind
from nocohost import App, PayloadError

PARAMS_BYTES = 200 * 1024


class TaskKindNotFoundError(TaskNotFoundError):
    """No installed plugin declares this kind of task."""

    code = "task.unknown_kind"


def task_forms(app: App) -> Mapping[str, TaskForm]:
    """Return the form of each kind, by kind; of two plugins that declare one kind, neither."""
    return _by_name(app, "form", "kind", TaskForm, app.hooks.call("register_task_forms"))


def task_kinds(app: App) -> Mapping[str, TaskKind]:
    """Return what each kind runs, by kind, as far as it is known to this process."""
    return _by_name(app, "kind", "name", TaskKind, app.hooks.call("register_task_kinds", app=app))


def find_form(app: App, kind: str) -> TaskForm:
    """Return the form of a kind; raises ``TaskKindNotFoundError`` with the nearest one."""
    forms = task_forms(app)
    if kind in forms:
        return forms[kind]
    near = get_close_matches(kind, forms, n=1)
    known = f"the kinds here are: {', '.join(sorted(forms)) or 'none'}"
    raise TaskKindNotFoundError(
        f"there is no kind of task {kind[:100]!r}", hint=f"did you mean {near[0]!r}?" if near else known
    )


def read_params(form: TaskForm, params: Any) -> tuple[Any, dict[str, Any]]:
    """Return the params as the form's model and as JSON; raises ``PayloadError`` with every fault."""
    try:
        model = form.params.model_validate(params)
        stored = model.model_dump(mode="json")
    except ValidationError as error:
        raise PayloadError(
            f"the params do not fit {form.kind}", code="task.params", faults=faults_of(error, "params")
        ) from error
    if len(json.dumps(stored)) > PARAMS_BYTES:
        raise PayloadError(f"the params of {form.kind} are larger than {PARAMS_BYTES} bytes", code="task.params")
    return model, stored


def faults_of(error: ValidationError, where: str) -> Sequence[str]:
    """Return every fault as ``where: what``; values are left out, they may be secret."""
    return [
        f"{'.'.join(map(str, fault['loc'])) or where}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _by_name(app: App, what: str, name: str, kind: type, found: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, tuple[str, Any]] = {}
    twice = set()
    for plugin, items in found:
        for item in items if isinstance(items, list | tuple) else [items]:
            if not isinstance(item, kind):
                app.log.error("task.misfit", plugin=plugin, what=what, reason=f"not a {kind.__name__}")
                continue
            key = getattr(item, name)
            if key in named:
                app.log.error("task.misfit", plugin=plugin, what=what, reason=f"{key} is {named[key][0]}'s too")
                twice.add(key)
            named[key] = plugin, item
    return {key: item for key, (_, item) in named.items() if key not in twice}
