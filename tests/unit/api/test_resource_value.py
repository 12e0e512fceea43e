"""A resource as a value: what it takes from its table, and what it refuses."""

from decimal import Decimal

import pytest
from probes.shelf import BOOKS, COPIES
from sqlalchemy import ARRAY, Column, Computed, Identity, Integer, Interval, MetaData, Table, Text, TypeDecorator, Uuid
from sqlalchemy import Double as DoubleType

from nocohost import Field, Kind, PluginError, Resource
from nocohost.api.field import places_of

RIGHTS = {"read": "shop.read", "write": "shop.write"}


def table(*columns: Column) -> Table:
    return Table("shop_things", MetaData(), *columns)


def keyed(*columns: Column) -> Table:
    return table(Column("id", Integer, primary_key=True), *columns)


def test_the_fields_are_those_of_the_table():
    kinds = {name: field.kind.value for name, field in BOOKS.fields.items()}
    assert kinds == {
        "id": "integer",
        "title": "text",
        "isbn": "text",
        "maker": "text",
        "pages": "integer",
        "price": "decimal",
        "weight": "float",
        "is_new": "boolean",
        "state": "choice",
        "printed_on": "date",
        "opens_at": "time",
        "read_at": "instant",
        "local_at": "instant",
        "made_at": "instant",
        "mark": "uuid",
        "notes": "json",
        "cover": "binary",
    }
    assert [field.name for field in BOOKS.fields.values() if field.is_required] == ["title"]
    assert (BOOKS.fields["title"].title, BOOKS.fields["title"].length) == ("Title", 40)
    assert (BOOKS.fields["price"].precision, BOOKS.fields["price"].scale) == (10, 2)
    assert [field.name for field in COPIES.key] == ["book", "number"]


def test_types_of_plugins_are_what_they_are_stored_as_and_computed_columns_are_not_given():
    class Shout(TypeDecorator):
        impl = Text
        cache_ok = True

    made = Resource(
        "shop.things",
        table(
            Column("id", Integer, Identity(always=True), primary_key=True),
            Column("shout", Shout),
            Column("twice", Integer, Computed("id * 2")),
            Column("ratio", DoubleType),
            Column("mark", Uuid(as_uuid=False)),
        ),
        **RIGHTS,
    )
    assert [field.kind for field in made.fields.values()] == [
        Kind.INTEGER,
        Kind.TEXT,
        Kind.INTEGER,
        Kind.FLOAT,
        Kind.UUID,
    ]
    assert [field.is_computed for field in made.fields.values()] == [True, False, True, False, False]
    assert isinstance(made.fields["mark"].read("0190A3B4-0000-7000-8000-000000000001"), str)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Resource("shop.things", table(Column("id", Integer)), **RIGHTS), "has no primary key"),
        (lambda: Resource("things", keyed(), **RIGHTS), "plugin.noun"),
        (lambda: Resource("Shop.things", keyed(), **RIGHTS), "plugin.noun"),
        (lambda: Resource("shop.things", keyed()), "says not who may read it"),
        (lambda: Resource("shop.things", keyed(), read="shop.read"), "says not who may write it"),
        (lambda: Resource("shop.things", keyed(), read="shop", write="shop.write"), "'shop' is no permission"),
        (lambda: Resource("shop.things", keyed(), field_titles={"ide": "No"}, **RIGHTS), "did you mean 'id'"),
        (lambda: Resource("shop.things", "shop_things", **RIGHTS), "no SQLAlchemy Table"),
        (lambda: Resource("shop.things", keyed(Column("or", Text)), **RIGHTS), "filters mean something else"),
        (lambda: Resource("shop.things", keyed(Column("a", ARRAY(Text))), **RIGHTS), "cannot be shared"),
        (lambda: Resource("shop.things", keyed(Column("a", Interval)), **RIGHTS), "cannot be shared"),
    ],
)
def test_what_cannot_be_shared_is_refused_with_its_reason(make, reason):
    with pytest.raises(PluginError) as raised:
        make()
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        (Kind.DECIMAL, "1E+2", "100"),
        (Kind.DECIMAL, 0.1, "0.1"),
        (Kind.DECIMAL, Decimal("12.50"), "12.50"),
        (Kind.INSTANT, "2026-01-01t00:00:00z", "2026-01-01T00:00:00Z"),
        (Kind.TIME, "08:30", "08:30:00"),
        (Kind.FLOAT, 3, 3.0),
    ],
)
def test_values_are_read_from_json_and_shown_again(kind, given, shown):
    field = Field("x", kind)
    assert field.show(field.read(given)) == shown


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Kind.DECIMAL, 0.12345678901234567),
        (Kind.DECIMAL, "1e999"),
        (Kind.DECIMAL, "NaN"),
        (Kind.DECIMAL, float("nan")),
        (Kind.DECIMAL, True),
        (Kind.INTEGER, 1.0),
        (Kind.INSTANT, "0001-01-01T00:00:00+02:00"),
        (Kind.INSTANT, "2026-01-01T24:00:00Z"),
        (Kind.INSTANT, "2026-W01"),
        (Kind.TEXT, "\ud800"),
        (Kind.UUID, "0190a3b4"),
        (Kind.BINARY, "é"),
        (Kind.DATE, "20260101"),
    ],
)
def test_what_is_not_exactly_of_the_kind_is_refused(kind, given):
    with pytest.raises(ValueError, match=r"\w"):
        Field("x", kind).read(given)


def test_the_digits_of_a_decimal_are_counted_exactly():
    assert [places_of(Decimal(text)) for text in ("1", "1.50", "1E+3", "0.000", "1e-400")] == [0, 1, 0, 0, 400]
