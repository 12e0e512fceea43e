"""The filter grammar: what it says, and what it says of what it does not understand."""

from decimal import Decimal

import pytest
from probes.shelf import BOOKS

from nocohost import ResourceQueryError
from nocohost.api.filter import EVERYTHING, AllOf, AnyOf, Condition, NotOf, Operator, parse_filter

FIELDS = BOOKS.fields


def faults_of(raw) -> list[str]:
    with pytest.raises(ResourceQueryError) as raised:
        parse_filter(raw, FIELDS)
    return list(raised.value.faults)


def test_a_filter_becomes_a_value_typed_by_the_fields():
    raw = {"price": {"gt": 100, "le": "200.5"}, "or": [{"title": "x"}, {"not": {"pages": {"in": [1, None]}}}]}
    parsed = parse_filter(raw, FIELDS)
    assert parsed == AllOf(
        (
            Condition("price", Operator.GT, Decimal(100)),
            Condition("price", Operator.LE, Decimal("200.5")),
            AnyOf(
                (
                    Condition("title", Operator.EQ, "x"),
                    NotOf(Condition("pages", Operator.IN, (1, None))),
                )
            ),
        )
    )
    assert parse_filter(parsed, FIELDS) is parsed
    assert parse_filter({}, FIELDS) == parse_filter(None, FIELDS) == EVERYTHING


@pytest.mark.parametrize(
    ("raw", "faults"),
    [
        (
            {"or": [{}, {"price": {"gt": "much"}}]},
            ["or[1].price.gt: 'much' is no decimal; give an exact string such as \"12.50\""],
        ),
        ({"titel": 1}, ["titel: is no field; did you mean 'title'?"]),
        ({"not": {"and": [{"pages": "x"}]}}, ["not.and[0].pages: 'x' is no integer"]),
        ({"pages": {}}, None),
        ({"pages": {"gte": 1}}, None),
        ({"pages": {"contains": "1"}}, None),
        ({"is_new": {"gt": True}}, None),
        ({"notes": {"a": 1}}, None),
        ({"notes": 1}, ["notes: a json field cannot be compared; ask for null"]),
        ({"pages": {"gt": None}}, ['pages.gt: null is not more or less than anything; ask {"null": true}']),
        ({"pages": {"null": 1}}, ["pages.null: give true or false"]),
        ({"pages": {"in": 1}}, ["pages.in: give a list of values"]),
        ({"or": []}, ["or: give a list of one or more filters"]),
        ({"or": {}}, ["or: give a list of one or more filters"]),
        ([], ["filter: is a list; give an object of fields"]),
        ("x", ["filter: is a string; give an object of fields"]),
        ({"title": "a", "pages": "b", "price": "c"}, None),
    ],
)
def test_every_fault_is_named_with_its_place(raw, faults):
    found = faults_of(raw)
    if faults is not None:
        assert found == faults
    assert len(found) == (2 if raw == {"title": "a", "pages": "b", "price": "c"} else 1)


def test_a_filter_is_limited_in_depth_conditions_and_values():
    deep: dict = {}
    for _ in range(16):
        deep = {"not": deep}
    assert "nested deeper than 16" in faults_of(deep)[0]
    assert "more than 200 conditions" in faults_of({"and": [{"pages": {"gt": 1, "lt": 2}}] * 101})[0]
    assert "at most 200" in faults_of({"or": [{}] * 201})[0]
    assert "at most 1000" in faults_of({"pages": {"in": [1] * 1001}})[0]
    assert "at most 4096" in faults_of({"title": "x" * 4097})[0]
    assert len(faults_of({f"no{place}": 1 for place in range(100)})) == 20


def test_a_json_field_may_be_asked_for_null_by_either_word():
    assert parse_filter({"notes": None}, FIELDS) == Condition("notes", Operator.EQ, None)
    assert parse_filter({"notes": {"null": False}}, FIELDS) == Condition("notes", Operator.NULL, False)
