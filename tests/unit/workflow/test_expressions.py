"""Expressions: their values as JSON, their errors, and their budget."""

import contextlib

import pytest

from builtin_plugins.workflow.errors import ExpressionError
from builtin_plugins.workflow.expressions import Compiler

SCOPE = {
    "trigger": {
        "total": "120.50",
        "count": 3,
        "none": None,
        "list": [1, 2, 3],
        "long": "x" * 300_000,
        "many": [1] * 3000,
    },
    "steps": {"a": 1, "b": 2.5},
}


def value(text):
    return Compiler().compile(text, ("trigger", "steps")).evaluate(SCOPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("double(trigger.total) * 2.0", 241.0),
        ("trigger.count + 1", 4),
        ("steps.a + int(steps.b)", 3),
        ("steps['a']", 1),
        ("trigger.none == null", True),
        ("has(trigger.missing)", False),
        ("trigger.list.filter(x, x > 1)", [2, 3]),
        ("{'a': [1, 2.5, 'x', null]}", {"a": [1, 2.5, "x", None]}),
        ("timestamp('2024-01-01T00:00:00Z') + duration('1h')", "2024-01-01T01:00:00Z"),
        ("7 / 2", 3),
        ("sum(trigger.list)", 6),
        ("sum(trigger.list.map(x, double(x) * 0.5))", 3.0),
        ("sum([])", 0),
    ],
)
def test_a_value_is_json(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "trigger.missing",
            "1 / 0",
            "1 % 0",
            "1.0 / 0.0",
            "steps.a + steps.b",
            "trigger.list[9]",
            "{1: 2}",
            "type(1)",
        ),
        *("sum(5)", "sum(['a'])", "sum([1, 2.5])", "sum([true])", "sum([9223372036854775807, 1])", "sum([1.0, null])"),
        *("b'abc'", "trigger.count ? 1 : 2", "9223372036854775807 + 1", "trigger.none.x", "int('x')", "duration('x')"),
    ],
)
def test_what_cannot_be_fails(text):
    with pytest.raises(ExpressionError):
        value(text)


@pytest.mark.parametrize("text", ["1 +", "nobody", "now()", "", "   ", "x" * 5000, "import('os')", "a\x00b"])
def test_what_is_no_expression_is_refused_when_it_is_compiled(text):
    with pytest.raises(ExpressionError):
        Compiler().compile(text, ("trigger", "steps"))


@pytest.mark.parametrize(
    "text",
    [
        "trigger.many.all(a, trigger.many.all(b, trigger.many.all(c, true)))",
        "trigger.many.map(a, trigger.many)",
        "trigger.many.map(a, sum(trigger.many))",
        "trigger.many.map(a, trigger.long + trigger.long)",
        "trigger.many.map(a, trigger.many.map(b, trigger.many))",
        "trigger.many.all(a, trigger.many == trigger.many)",
        "[" + ", ".join(["trigger.long"] * 10) + "]",
        " + ".join(["trigger.long"] * 20),
        "size(['aaaaaaaa']" + ".map(x, x + x)" * 24 + "[0])",
        "size(['aaaaaaaa']" + ".map// a comment\n(x, x + x)" * 24 + "[0])",
        "[1]" + ".map(x, [x, x])" * 24 + " == [1]" + ".map(x, [x, x])" * 24,
        "[1]" + ".map(x, {'a': x, 'b': x})" * 24 + " == []",
    ],
)
def test_a_bomb_is_refused(text):
    with pytest.raises(ExpressionError):
        value(text)


def test_what_is_refused_for_its_size_says_so():
    with pytest.raises(ExpressionError) as caught:
        value("trigger.many.map(a, trigger.long)")
    assert (caught.value.code, "limit: expression" in caught.value.message) == ("workflow.expression_limit", True)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**70, float("nan"), float("inf")])
def test_numbers_that_do_not_fit_fail_or_stay_what_they_are(number):
    expression = Compiler().compile("trigger", ("trigger",))
    with contextlib.suppress(ExpressionError):
        assert expression.evaluate({"trigger": number}) == number


def test_only_what_is_named_is_handed_over():
    expression = Compiler().compile("steps.a + 1", ("trigger", "steps"))
    assert (expression.names, expression.steps) == (["steps"], ["a"])
    assert Compiler().compile("size(steps)", ("trigger", "steps")).steps is None


@pytest.mark.parametrize(
    "text", ["trigger.cut", "trigger['cut']", "size(trigger.cut)", "steps.a.b[0]", "trigger.keys", "'a\\x00b'"]
)
def test_a_nul_which_the_binding_would_cut_a_text_at_is_refused(text):
    scope = {"trigger": {"cut": "a\0b", "keys": {"k\0z": 1}}, "steps": {"a": {"b": ["x\0"]}}}
    with pytest.raises(ExpressionError, match="NUL"):
        Compiler().compile(text, ("trigger", "steps")).evaluate(scope)


def test_a_nul_that_is_not_reached_harms_nobody():
    scope = {"trigger": {"cut": "a\0b", "whole": "\\u0000"}}
    assert Compiler().compile("trigger.whole", ("trigger",)).evaluate(scope) == "\\u0000"
