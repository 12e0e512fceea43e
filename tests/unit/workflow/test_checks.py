"""What a definition names outside of itself, against declarations of plugins that may be wrong themselves."""

from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from builtin_plugins.async_task import TaskForm
from builtin_plugins.workflow.checks import check_names
from builtin_plugins.workflow.errors import DefinitionError
from builtin_plugins.workflow.expressions import Compiler
from builtin_plugins.workflow.reading import read_definition
from builtin_plugins.workflow.steps.forms import FORMS


class Params(BaseModel):
    pass


def app_with(*forms):
    log = SimpleNamespace(error=lambda event, **fields: None)
    return SimpleNamespace(log=log, hooks=SimpleNamespace(call=lambda name: [("acme", one) for one in forms]))


def definition(kind):
    step = {"key": "t", "type": "task", "kind": kind}
    whole = {"version": 1, "name": "flow", "trigger": {"type": "api"}, "steps": [step]}
    return read_definition(whole, {form.type: form for form in FORMS}, Compiler())


def test_a_plugin_that_declares_no_list_of_forms_keeps_no_workflow_from_the_kinds_of_others():
    app = app_with(None, "junk", [5], TaskForm("alone", "Alone", Params), [TaskForm("report", "Report", Params)])
    for kind in ("alone", "report"):
        check_names(app, definition(kind))
    with pytest.raises(DefinitionError, match="did you mean 'report'"):
        check_names(app, definition("reports"))


def test_a_kind_that_two_declare_is_nobodys():
    with pytest.raises(DefinitionError, match="no kind of task 'report'"):
        check_names(app_with(*([TaskForm("report", "Report", Params)] for _ in range(2))), definition("report"))
