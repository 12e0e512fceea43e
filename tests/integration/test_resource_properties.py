"""What must hold of every filter and of every list: they do what plain Python does, whatever comes in between."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probes.shelf import BOOKS, books, open_shelf

from nocohost.api.filter import AllOf, AnyOf, Condition, NotOf, Operator, parse_filter
from nocohost.api.sort import parse_sort

TEXTS = st.text(alphabet="aAb%_*?[]\\/é☃ ", max_size=4)
INSTANTS = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-06-01T12:00:00+02:00"])
VALUES: Mapping[str, Any] = {
    "title": TEXTS,
    "pages": st.integers(-3, 3),
    "price": st.decimals(-2, 2, places=2).map(str),
    "weight": st.sampled_from([-1.5, 0.0, 0.1, 2.0]),
    "is_new": st.booleans(),
    "read_at": INSTANTS,
    "local_at": INSTANTS,
    "printed_on": st.sampled_from(["2024-02-29", "2026-01-01"]),
    "state": st.sampled_from(["NEW", "SOLD"]),
    "mark": st.sampled_from(["0190a3b4-0000-7000-8000-000000000001", "0190a3b4-0000-7000-8000-000000000002"]),
}
ORDERED = ("pages", "price", "weight", "read_at", "local_at", "printed_on", "mark")
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"title": TEXTS}, optional={name: st.none() | value for name, value in VALUES.items() if name != "title"}
    ),
    max_size=12,
)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def conditions(draw: Any) -> Any:
    name = draw(st.sampled_from(sorted(VALUES)))
    value = VALUES[name]
    words = ["eq", "ne", "in", "nin", "null"]
    words += ["gt", "ge", "lt", "le"] if name in ORDERED else []
    words += ["contains", "starts_with"] if name == "title" else []
    word = draw(st.sampled_from(words))
    if word == "null":
        return {name: {"null": draw(st.booleans())}}
    if word in ("in", "nin"):
        return {name: {word: draw(st.lists(st.none() | value, max_size=3))}}
    given = draw(st.none() | value if word in ("eq", "ne") else value)
    return {name: given} if word == "eq" and draw(st.booleans()) else {name: {word: given}}


FILTERS = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        inner.map(lambda part: {"not": part}),
        st.tuples(inner, inner).map(lambda two: {**two[0], "not": two[1]}),
    ),
    max_leaves=6,
)
SORTS = st.lists(
    st.sampled_from([*ORDERED, "is_new"]).flatmap(lambda name: st.sampled_from([name, f"-{name}"])),
    max_size=3,
    unique_by=lambda key: key.removeprefix("-"),
)


def holds(found: Any, record: Mapping[str, Any]) -> bool:
    """The filter in plain Python."""
    if isinstance(found, AllOf):
        return all(holds(part, record) for part in found.parts)
    if isinstance(found, AnyOf):
        return any(holds(part, record) for part in found.parts)
    if isinstance(found, NotOf):
        return not holds(found.part, record)
    assert isinstance(found, Condition)
    have, value = record[found.field], found.value
    if found.operator is Operator.NULL:
        return (have is None) == value
    if found.operator in (Operator.EQ, Operator.NE):
        return (have == value) == (found.operator is Operator.EQ)
    if found.operator in (Operator.IN, Operator.NIN):
        return (have in value) == (found.operator is Operator.IN)
    if have is None:
        return False
    return bool(
        {
            Operator.GT: lambda: have > value,
            Operator.GE: lambda: have >= value,
            Operator.LT: lambda: have < value,
            Operator.LE: lambda: have <= value,
            Operator.CONTAINS: lambda: value in have,
            Operator.STARTS_WITH: lambda: have.startswith(value),
        }[found.operator]()
    )


def in_order(records: list[Any], sort: list[str]) -> list[Any]:
    """The order in plain Python: null is greater than everything, the key decides last."""
    keys = parse_sort(sort, BOOKS.fields)
    last = bool(keys) and keys[-1].descending

    def compare(one: Any, other: Any) -> int:
        for name, descending in [*((key.field, key.descending) for key in keys), ("id", last)]:
            left, right = ((record[name] is None, record[name]) for record in (one, other))
            if left != right:
                less = left[0] < right[0] if left[0] != right[0] else left[1] < right[1]
                return -1 if less != descending else 1
        return 0

    return sorted(records, key=cmp_to_key(compare))


@pytest.fixture
async def shelf(database):
    return await open_shelf(database)


async def refill(shelf: Any, database: Any, rows: list[Any]) -> list[Any]:
    async with database.begin() as connection:
        await connection.execute(books.delete())
        await shelf.create_many("shelf.books", rows, connection=connection)
        return [record async for record in shelf.iterate("shelf.books", connection=connection)]


@MANY
@given(rows=RECORDS, raw=FILTERS)
async def test_a_filter_finds_what_python_finds(shelf, database, rows, raw):
    records = await refill(shelf, database, rows)
    found = parse_filter(raw, BOOKS.fields)
    wanted = [record["id"] for record in records if holds(found, record)]
    assert [record["id"] async for record in shelf.iterate("shelf.books", filter=raw, fields="id")] == wanted
    assert await shelf.count("shelf.books", filter=raw) == len(wanted)


@MANY
@given(rows=RECORDS, sort=SORTS, limit=st.integers(1, 4))
async def test_pages_one_after_the_other_are_the_whole_in_order(shelf, database, rows, sort, limit):
    wanted = in_order(await refill(shelf, database, rows), sort)
    got: list[Any] = []
    after: str | None = ""
    while after is not None:
        page = await shelf.list("shelf.books", sort=sort, limit=limit, after=after or None)
        got += page.items
        after = page.next
        assert after is None or len(page.items) == limit
    assert [record["id"] for record in got] == [record["id"] for record in wanted]


async def test_records_that_come_in_between_pages_shift_nothing(shelf):
    await shelf.create_many("shelf.books", [{"title": "old", "pages": place % 7} for place in range(200)])
    old = {record["id"] async for record in shelf.iterate("shelf.books")}
    seen: list[Any] = []
    after, busy = None, True

    async def add() -> None:
        count = 0
        while busy:
            await shelf.create("shelf.books", {"title": "new", "pages": count % 9, "price": Decimal(count)})
            count += 1

    adding = asyncio.create_task(add())
    while True:
        page = await shelf.list("shelf.books", sort="-pages,title", limit=13, after=after)
        seen += page.items
        after = page.next
        if after is None or len(seen) > 5000:
            break
    busy = False
    await adding
    ids = [record["id"] for record in seen]
    assert len(ids) == len(set(ids))
    assert old <= set(ids)
    places = [(-record["pages"], record["title"]) for record in seen]
    assert places == sorted(places)
