"""Definitions: what is accepted, and that every fault is told with its path."""

import json

import pytest

from builtin_plugins.workflow.errors import DefinitionError, StepFailedError, WorkflowError
from builtin_plugins.workflow.expressions import Compiler
from builtin_plugins.workflow.reading import read_definition
from builtin_plugins.workflow.schema import definition_schema
from builtin_plugins.workflow.steps.forms import FORMS

BY_TYPE = {form.type: form for form in FORMS}
CALCULATE = {"key": "a", "type": "calculate", "value": "1"}


def definition(*steps, **more):
    return {"version": 1, "name": "flow", "trigger": {"type": "api"}, "steps": list(steps), **more}


def read(value):
    return read_definition(value, BY_TYPE, Compiler())


def faults(value):
    with pytest.raises(DefinitionError) as caught:
        read(value)
    return list(caught.value.faults)


def test_a_definition_is_read_with_its_expressions_compiled():
    loop = {
        "key": "l",
        "type": "loop",
        "over": "trigger.input",
        "as": "i",
        "do": [CALCULATE | {"value": "i + i_index"}],
    }
    found = read(definition(loop, output="steps.l.count", timeout_seconds=60))
    assert [step.path for step in found.walk()] == ["l", "l/do/a"]
    assert (found.title, found.output.text, found.timeout_seconds) == ("flow", "steps.l.count", 60)


FAULTS = [
    ([], "/"),
    (definition() | {"name": "No Name"}, "/name"),
    (definition() | {"version": 2}, "/version"),
    (definition() | {"version": "1"}, "/version"),
    (definition() | {"other": 1}, "/other"),
    (definition() | {"steps": {}}, "/steps"),
    (definition() | {"trigger": {"type": "nothing"}}, "/trigger/type"),
    (definition() | {"trigger": {"type": "api", "x": 1}}, "/trigger/x"),
    (definition() | {"trigger": {"type": "resource", "resource": "a.b", "on": ["rename"]}}, "/trigger/on/0"),
    (definition() | {"trigger": {"type": "schedule"}}, "/trigger"),
    (definition() | {"trigger": {"type": "schedule", "cron": "@daily", "interval_seconds": 5}}, "/trigger"),
    (definition() | {"trigger": {"type": "webhook", "when": "nobody.knows"}}, "/trigger/when"),
    (definition(CALCULATE, output="other"), "/output"),
    (definition(5), "/steps/0"),
    (definition({"type": "calculate", "value": "1"}), "/steps/0/key"),
    (definition(CALCULATE, CALCULATE), "/steps/1/key"),
    (definition(CALCULATE | {"key": "in"}), "/steps/0/key"),
    (definition(CALCULATE | {"key": "Upper"}), "/steps/0/key"),
    (definition(CALCULATE | {"key": "trigger"}), "/steps/0/key"),
    (definition(CALCULATE | {"type": "nothing"}), "/steps/0/type"),
    (definition(CALCULATE | {"value": "1 +"}), "/steps/0/value"),
    (definition(CALCULATE | {"value": 5}), "/steps/0/value"),
    (definition(CALCULATE | {"value": "1" * 5000}), "/steps/0/value"),
    (definition(CALCULATE | {"value": "(" * 70 + "1" + ")" * 70}), "/steps/0/value"),
    (definition(CALCULATE | {"on_error": "retry"}), "/steps/0/on_error"),
    (definition(CALCULATE | {"retry": {"attempts": 0}}), "/steps/0/retry/attempts"),
    (definition(CALCULATE | {"timeout_seconds": -1}), "/steps/0/timeout_seconds"),
    (definition({"key": "c", "type": "condition", "then": []}), "/steps/0/if"),
    (definition({"key": "c", "type": "condition", "if": "true", "then": 5}), "/steps/0/then"),
    (definition({"key": "s", "type": "switch", "value": "1"}), "/steps/0/cases"),
    (definition({"key": "s", "type": "switch", "value": "1", "cases": [{"do": []}]}), "/steps/0/cases/0"),
    (definition({"key": "p", "type": "parallel"}), "/steps/0/branches"),
    (definition({"key": "p", "type": "parallel", "mode": "some", "branches": [[]]}), "/steps/0/mode"),
    (definition({"key": "l", "type": "loop", "do": []}), "/steps/0"),
    (definition({"key": "l", "type": "loop", "count": 3, "as": "l", "do": []}), "/steps/0/as"),
    (definition({"key": "l", "type": "loop", "count": "3", "do": []}), "/steps/0/count"),
    (definition({"key": "l", "type": "loop", "count": -1, "do": []}), "/steps/0/count"),
    (definition({"key": "l", "type": "loop", "count": 2.5, "do": []}), "/steps/0/count"),
    (definition({"key": "l", "type": "loop", "count": 3, "max": 10**7, "do": []}), "/steps/0/max"),
    (definition({"key": "h", "type": "http", "url": "= nobody"}), "/steps/0/url"),
    (
        definition({"key": "h", "type": "http", "url": "https://a.example", "json": {"a": [1, "= b"]}}),
        "/steps/0/json/a/1",
    ),
    (definition({"key": "d", "type": "delay", "seconds": "soon"}), "/steps/0/seconds"),
    (definition({"key": "d", "type": "delay", "seconds": 1, "hours": 1}), "/steps/0/hours"),
]


@pytest.mark.parametrize(
    ("value", "where"), FAULTS, ids=[f"{place}-{where}" for place, (_, where) in enumerate(FAULTS)]
)
def test_a_fault_is_told_with_its_path(value, where):
    assert [fault for fault in faults(value) if fault.startswith(f"{where}:")], faults(value)


def test_a_type_that_is_unknown_may_be_meant_otherwise():
    (fault,) = faults(definition(CALCULATE | {"type": "calcualte"}))
    assert fault.endswith("did you mean 'calculate'?")


def test_all_faults_are_told_at_once():
    wrong = definition(CALCULATE | {"value": "nobody"}, {"key": "h", "type": "http"}, output="1 +")
    assert sorted(fault.split(":")[0] for fault in faults(wrong)) == ["/output", "/steps/0/value", "/steps/1/url"]


def test_what_is_an_expression_is_not_judged_before_it_has_a_value():
    read(definition({"key": "d", "type": "delay", "seconds": "= trigger.input * 2"}))
    read(definition({"key": "h", "type": "http", "url": "= trigger.input", "method": "= 'GE' + 'T'"}))


def test_too_much_is_refused():
    many = [CALCULATE | {"key": f"k{number}"} for number in range(501)]
    assert any("500" in fault for fault in faults(definition(*many)))
    step = CALCULATE
    for number in range(30):
        step = {"key": f"c{number}", "type": "condition", "if": "true", "then": [step]}
    assert any("deeper" in fault for fault in faults(definition(step)))
    assert any("larger" in fault for fault in faults(definition(CALCULATE, description="x" * 2_000_000)))
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert faults(definition({"key": "h", "type": "http", "url": "https://a.example", "json": deep}))


def test_a_newer_format_says_so():
    with pytest.raises(DefinitionError, match="format 7"):
        read(definition() | {"version": 7, "whatever": 1})


def test_the_schema_knows_every_type():
    schema = definition_schema(BY_TYPE)
    kinds = {one["properties"]["type"]["const"] for one in schema["$defs"]["step"]["oneOf"]}
    assert kinds == set(BY_TYPE)
    json.dumps(schema)


def test_errors_have_codes_of_their_own():
    assert WorkflowError("so").as_dict()["code"] == "workflow.error"
    assert StepFailedError("so").retryable


def test_a_nul_is_refused_wherever_it_stands():
    signal = {"key": "s", "type": "signal", "name": "a\0b"}
    job = {"key": "j", "type": "job", "job": "a:b", "payload": {"x\0": 1}}
    found = faults(definition(signal, job, title="a\0b"))
    assert [fault for fault in found if "NUL" in fault] == [
        "/steps/0/name: a text with a NUL character, which no database keeps",
        "/steps/1/payload: a name with a NUL character, which no database keeps",
        "/title: a text with a NUL character, which no database keeps",
    ]
