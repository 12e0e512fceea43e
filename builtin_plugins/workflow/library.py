"""The workflows as this process understands them: forms of steps, and definitions that it has read before."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from builtin_plugins.workflow.definition import Definition, Step
from builtin_plugins.workflow.errors import WorkflowNotFoundError
from builtin_plugins.workflow.expressions import Compiler
from builtin_plugins.workflow.form import StepForm
from builtin_plugins.workflow.reading import read_definition
from builtin_plugins.workflow.steps.forms import FORMS
from builtin_plugins.workflow.tables import versions
from nocohost import App

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

KEPT = 200
"""So many definitions are kept compiled."""


class Library:
    """Reads definitions, and keeps those of the versions that were used last; a version never changes."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._compiler = Compiler()
        self._forms: Mapping[str, StepForm] | None = None
        self._read: dict[tuple[str, int], tuple[Definition, Mapping[str, Step]]] = {}

    @property
    def forms(self) -> Mapping[str, StepForm]:
        """Return the form of each type of step; of two plugins that declare one type, neither."""
        if self._forms is None:
            self._forms = known_forms(self._app)
        return self._forms

    def read(self, value: Any) -> Definition:
        """Return what a JSON value defines; raises ``DefinitionError``."""
        return read_definition(value, self.forms, self._compiler)

    def known(self, name: str, number: int) -> tuple[Definition, Mapping[str, Step]] | None:
        """Return a version and its steps by path if it was read before."""
        return self._read.get((name, number))

    async def find(
        self, connection: "AsyncConnection", name: str, number: int
    ) -> tuple[Definition, Mapping[str, Step]]:
        """Return a version and its steps by path; raises ``WorkflowNotFoundError`` and ``DefinitionError``."""
        found = self._read.get((name, number))
        if found is not None:
            return found
        query = select(versions.c.definition).where(versions.c.name == name, versions.c.number == number)
        stored = (await connection.execute(query)).scalar_one_or_none()
        if stored is None:
            raise WorkflowNotFoundError(f"there is no version {number} of workflow {name!r}")
        definition = self.read(stored)
        if len(self._read) >= KEPT:
            del self._read[next(iter(self._read))]
        found = definition, {step.path: step for step in definition.walk()}
        self._read[name, number] = found
        return found


def known_forms(app: App) -> Mapping[str, StepForm]:
    """Return the form of each type of step that installed plugins declare, ours included."""
    forms = {form.type: form for form in FORMS}
    twice = set()
    for plugin, items in app.hooks.call("register_step_forms"):
        for form in items if isinstance(items, list | tuple) else [items]:
            if not isinstance(form, StepForm):
                app.log.error("workflow.misfit", plugin=plugin, reason=f"{type(form).__name__} is no StepForm")
            elif form.type in forms:
                app.log.error("workflow.misfit", plugin=plugin, reason=f"{form.type} is declared already")
                twice.add(form.type)
            else:
                forms[form.type] = form
    ours = {form.type for form in FORMS}
    return {kind: form for kind, form in forms.items() if kind not in twice or kind in ours}
