"""``app.resources`` on both databases: what goes in comes out, lists, keys, conflicts."""

import base64
import contextlib
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from probes.shelf import BOOKS, State, books, makers, open_shelf

from nocohost import (
    RecordConflictError,
    RecordNotFoundError,
    RecordValuesError,
    ResourceError,
    ResourceNotFoundError,
    ResourceQueryError,
)

WHOLE = {
    "title": "Ä 100% _x_ ☃",
    "isbn": "978",
    "pages": 2**40,
    "price": "99999999.99",
    "weight": 0.1,
    "is_new": True,
    "state": "SOLD",
    "printed_on": "2024-02-29",
    "opens_at": "08:30:00",
    "read_at": "2026-01-31T08:00:00.25+02:00",
    "local_at": "2026-01-31T08:00:00Z",
    "mark": "0190a3b4-0000-7000-8000-000000000001",
    "notes": {"a": [1, None, "x"]},
    "cover": "AAEC",
}


@pytest.fixture
async def shelf(database):
    return await open_shelf(database)


async def test_every_kind_of_value_comes_back_as_python_and_as_json_has_it(shelf):
    made = await shelf.create("shelf.books", WHOLE)
    found = await shelf.get("shelf.books", made["id"])
    assert found == made
    assert (found["price"], found["state"], found["mark"]) == (Decimal("99999999.99"), State.SOLD, UUID(WHOLE["mark"]))
    assert found["read_at"] == datetime(2026, 1, 31, 6, 0, 0, 250000, UTC)
    assert (found["printed_on"], found["opens_at"], found["cover"]) == (date(2024, 2, 29), time(8, 30), b"\0\1\2")
    assert found["made_at"].utcoffset() == timedelta(0)
    shown = BOOKS.show(found)
    assert {name: shown[name] for name in WHOLE} == {**WHOLE, "read_at": "2026-01-31T06:00:00.250000Z"}
    assert shown["maker"] is None
    again = await shelf.create("shelf.books", {**found, "id": 2, "isbn": None})
    assert {**again, "id": 1, "isbn": "978"} == found


async def test_null_is_null_of_the_database_for_json_too(shelf, database):
    one = await shelf.create("shelf.books", {"title": "a", "notes": None})
    await shelf.create_many("shelf.books", [{"title": "b", "notes": None}, {"title": "c", "notes": {}}])
    assert await shelf.count("shelf.books", filter={"notes": {"null": True}}) == 2
    await shelf.update("shelf.books", one["id"], {"notes": [1]})
    await shelf.update("shelf.books", one["id"], {"notes": None})
    assert await shelf.count("shelf.books", filter={"notes": None}) == 2


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({}, ["title: is missing"]),
        ({"title": None}, ["title: must not be null"]),
        ({"title": "x" * 41}, ["title: has 41 characters, at most 40"]),
        ({"titel": "x", "pages": "1"}, ["titel: is no field; did you mean 'title'?", "pages: '1' is no integer"]),
        ({"title": "x", "price": "1.234"}, ["price: has more than 2 digits after the point"]),
        ({"title": "x", "price": "123456789"}, ["price: has more than 8 digits before the point"]),
        ({"title": "x\0"}, ["title: holds the character NUL, which databases do not store"]),
        ({"title": "x", "read_at": "2026-01-31T08:00:00"}, None),
        ({"title": "x", "printed_on": "2025-02-29"}, None),
        ({"title": "x", "pages": 2**63}, ["pages: is outside the integers of 64 bits"]),
        ({"title": "x", "id": 2**31}, ["id: is outside the integers of 32 bits"]),
        ({"title": "x", "pages": True}, ["pages: True is no integer"]),
        ({"title": "x", "weight": 10**400}, ["weight: is too large a number"]),
        ({"title": "x", "state": "LOST"}, ["state: 'LOST' is none of: NEW, SOLD"]),
        ({"title": "x", "notes": {1, 2}}, ["notes: is no JSON value"]),
        ([], ["the record: give an object of fields"]),
    ],
)
async def test_values_that_do_not_fit_are_named_by_their_fields(shelf, values, faults):
    with pytest.raises(RecordValuesError) as raised:
        await shelf.create("shelf.books", values)
    assert isinstance(raised.value, ResourceError)
    if faults is not None:
        assert list(raised.value.faults) == faults
    assert await shelf.count("shelf.books") == 0


async def test_a_key_is_found_however_it_is_given_and_an_impossible_one_is_not_there(shelf):
    await shelf.create("shelf.books", {"id": 7, "title": "x"})
    await shelf.create("shelf.copies", {"book": 7, "number": "a/b", "place": "left"})
    for key in ((7, "a/b"), [7, "a/b"], {"number": "a/b", "book": 7}):
        assert (await shelf.get("shelf.copies", key))["place"] == "left"
    assert (await shelf.get("shelf.books", {"id": 7}, fields="title")) == {"title": "x"}
    for key in (8, 0, -1, 2**63, "7", None, (), (7, 7), {"title": "x"}, 7.0, True):
        with pytest.raises(RecordNotFoundError):
            await shelf.get("shelf.books", key)
        with pytest.raises(RecordNotFoundError):
            await shelf.delete("shelf.books", key)
        with pytest.raises(RecordNotFoundError):
            await shelf.update("shelf.books", key, {"title": "y"})
        with pytest.raises(RecordNotFoundError):
            await shelf.update("shelf.books", key, {})


async def test_a_resource_nobody_declares_is_refused_with_a_suggestion(shelf):
    with pytest.raises(ResourceNotFoundError, match=r"did you mean 'shelf\.books'"):
        await shelf.list("shelf.boks")


async def test_what_is_taken_is_a_conflict_that_names_the_fields(shelf):
    await shelf.create("shelf.books", {"id": 1000, "title": "x", "isbn": "9"})
    for values, named in (({"isbn": "9"}, "isbn"), ({"id": 1000}, "id")):
        with pytest.raises(RecordConflictError) as raised:
            await shelf.create("shelf.books", {"title": "y", **values})
        assert list(raised.value.faults) == [f"{named}: is taken by another record"]
    other = await shelf.create("shelf.books", {"title": "z"})
    with pytest.raises(RecordConflictError, match="isbn"):
        await shelf.update("shelf.books", other["id"], {"isbn": "9"})
    with pytest.raises(RecordConflictError, match="isbn"):
        await shelf.create_many("shelf.books", [{"title": "a"}, {"title": "b", "isbn": "9"}])
    assert await shelf.count("shelf.books") == 2


async def test_a_reference_to_nothing_and_the_loss_of_what_is_referred_to_are_conflicts(shelf):
    with pytest.raises(RecordConflictError) as raised:
        await shelf.create("shelf.books", {"title": "x", "maker": "none"})
    assert list(raised.value.faults) == ["maker: refers to a record that is not there"]
    await shelf.create("shelf.makers", {"code": "m"})
    made = await shelf.create("shelf.books", {"title": "x", "maker": "m"})
    with pytest.raises(RecordConflictError, match="refer to this"):
        await shelf.delete("shelf.makers", "m")
    assert (await shelf.delete("shelf.books", made["id"]))["maker"] == "m"
    assert (await shelf.delete("shelf.makers", "m"))["code"] == "m"


async def test_the_primary_key_of_a_record_does_not_change(shelf):
    made = await shelf.create("shelf.books", {"title": "x"})
    with pytest.raises(RecordValuesError, match="primary key"):
        await shelf.update("shelf.books", made["id"], {"id": 5})


async def test_many_rows_are_created_or_none_and_the_wrong_are_named(shelf):
    rows = [{"title": f"t{place}", "pages": place} for place in range(2500)]
    assert await shelf.create_many("shelf.books", iter(rows)) == 2500
    with pytest.raises(RecordValuesError) as raised:
        await shelf.create_many("shelf.books", [{"title": "x"}, {"pages": 1}, {"title": 1}])
    assert list(raised.value.faults) == ["row 2: title: is missing", "row 3: title: 1 is no text"]
    assert await shelf.create_many("shelf.books", []) == 0
    assert await shelf.count("shelf.books") == 2500
    found = [record async for record in shelf.iterate("shelf.books", sort="-pages", fields="pages,title", page=300)]
    assert found == [{"pages": place, "title": f"t{place}"} for place in reversed(range(2500))]


async def test_a_caller_s_transaction_is_joined_and_takes_everything_back(shelf, database):
    await shelf.create("shelf.books", {"id": 1, "title": "x"})
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with database.begin() as connection:
            await shelf.create("shelf.books", {"id": 2, "title": "y"}, connection=connection)
            await shelf.update("shelf.books", 1, {"title": "changed"}, connection=connection)
            assert await shelf.count("shelf.books", connection=connection) == 2
            assert (await shelf.get("shelf.books", 1, connection=connection))["title"] == "changed"
            await shelf.delete("shelf.books", 1, connection=connection)
            raise ZeroDivisionError
    assert [record["title"] for record in (await shelf.list("shelf.books")).items] == ["x"]


async def test_instants_that_the_database_made_are_equal_to_themselves(shelf, database):
    made = [await shelf.create("shelf.books", {"title": str(place)}) for place in range(3)]
    await shelf.create("shelf.books", {"title": "given", "made_at": made[0]["made_at"]})
    instant = made[0]["made_at"]
    assert await shelf.count("shelf.books", filter={"made_at": instant, "title": {"in": ["0", "given"]}}) == 2
    assert await shelf.count("shelf.books", filter={"made_at": {"ge": instant, "le": instant}, "title": "0"}) == 1
    for operator in ("gt", "lt"):
        assert await shelf.count("shelf.books", filter={"made_at": {operator: instant}, "title": "0"}) == 0
    zone = timezone(timedelta(hours=5))
    elsewhere = instant.astimezone(zone)
    assert await shelf.count("shelf.books", filter={"made_at": elsewhere, "title": "0"}) == 1
    listed = [record["title"] async for record in shelf.iterate("shelf.books", sort="made_at,title", page=1)]
    assert sorted(listed) == ["0", "1", "2", "given"]


async def test_a_cursor_is_good_for_its_own_list_only(shelf):
    await shelf.create_many("shelf.books", [{"title": str(place)} for place in range(5)])
    page = await shelf.list("shelf.books", sort="-title", limit=2, fields="title")
    assert [record["title"] for record in page.items] == ["4", "3"]
    again = await shelf.list("shelf.books", sort="-title", limit=9, after=page.next)
    assert [record["title"] for record in again.items] == ["2", "1", "0"]
    assert again.next is None
    others = (
        {"sort": "title"},
        {"sort": "-title", "filter": {"title": {"ne": "9"}}},
        {},
    )
    for other in others:
        with pytest.raises(ResourceQueryError, match="no cursor of this list"):
            await shelf.list("shelf.books", after=page.next, **other)
    for wrong in ("", "x", "AAAA", page.next[:-3], page.next + "A", "é", "W10", "e30", 5):
        with pytest.raises(ResourceQueryError):
            await shelf.list("shelf.books", sort="-title", after=wrong)


@pytest.mark.parametrize("value", [2**70, -(2**63) - 1, "1e999999999", [], {}, "x" * 20_000, True])
async def test_a_cursor_that_was_tampered_with_is_refused_or_harmless(shelf, value):
    await shelf.create_many("shelf.books", [{"title": str(place), "price": place} for place in range(3)])
    page = await shelf.list("shelf.books", sort="price", limit=1)
    digest, _, key = json.loads(base64.urlsafe_b64decode(page.next + "=="))
    for places in ([digest, value, key], [digest, 1, value], [digest], [digest, 1, 2, 3]):
        forged = base64.urlsafe_b64encode(json.dumps(places).encode()).decode().rstrip("=")
        with contextlib.suppress(ResourceQueryError):
            assert len((await shelf.list("shelf.books", sort="price", after=forged)).items) <= 3


async def test_limits_of_a_list_are_told(shelf):
    for limit in (0, -1, 10_001):
        with pytest.raises(ResourceQueryError, match="limit"):
            await shelf.list("shelf.books", limit=limit)
    with pytest.raises(ResourceQueryError, match="notes is a json field"):
        await shelf.list("shelf.books", sort="notes")
    with pytest.raises(ResourceQueryError, match="did you mean 'title'"):
        await shelf.list("shelf.books", fields="titel")


async def test_what_others_wrote_past_the_door_is_read(shelf, database):
    async with database.begin() as connection:
        await connection.execute(makers.insert().values(code="m"))
        await connection.execute(
            books.insert().values(title="x", maker="m", price=Decimal("0.10"), read_at=datetime(2026, 1, 1, tzinfo=UTC))
        )
    (record,) = (await shelf.list("shelf.books", filter={"price": "0.1", "read_at": "2026-01-01T00:00:00Z"})).items
    assert (record["price"], record["read_at"]) == (Decimal("0.10"), datetime(2026, 1, 1, tzinfo=UTC))
