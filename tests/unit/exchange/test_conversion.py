"""Cells become values: what a locale writes, what a field takes; whole columns at once as cell by cell."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probes.shelf import BOOKS
from sqlalchemy import Column as SqlColumn
from sqlalchemy import DateTime, Integer, String, TypeDecorator
from sqlalchemy.dialects import postgresql, sqlite

from builtin_plugins.exchange.conversion.cell import CellReader
from builtin_plugins.exchange.conversion.column import Column
from builtin_plugins.exchange.conversion.copy_text import copy_text
from builtin_plugins.exchange.conversion.locale import PRESETS, date_pattern, locale_of
from builtin_plugins.exchange.conversion.swift import swift
from nocohost import Field, Kind

PG, LITE = postgresql.dialect(), sqlite.dialect()
ISO, DE, US, FR = (PRESETS[name] for name in ("iso", "de", "en-US", "fr"))


def naive(*parts: int) -> datetime:
    """Return an instant as workbooks and naive columns have it."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)


def read(field: str, cell, locale=ISO, **options):
    return CellReader(BOOKS.fields[field], locale, **options).read(cell)


@pytest.mark.parametrize(
    ("field", "locale", "cell", "value"),
    [
        ("pages", ISO, " +0012 ", 12),
        ("pages", ISO, "12.000", 12),
        ("pages", ISO, "1e3", 1000),
        ("pages", DE, "1.234.567", 1234567),
        ("pages", US, "1,234", 1234),
        ("pages", FR, "1\u202f234\u00a0567", 1234567),
        ("pages", ISO, 7.0, 7),
        ("price", DE, "1.234,50", Decimal("1234.50")),
        ("price", DE, "-0,5", Decimal("-0.5")),
        ("price", ISO, "12.500", Decimal("12.50")),
        ("price", ISO, 0.1 + 0.2, Decimal("0.3")),
        ("weight", DE, "1,5", 1.5),
        ("weight", ISO, "-1.5e-3", -0.0015),
        ("is_new", DE, "Ja", True),
        ("is_new", ISO, "0", False),
        ("is_new", ISO, 1.0, True),
        ("is_new", ISO, True, True),
        ("title", ISO, "  as it is ", "  as it is "),
        ("title", ISO, 17.0, "17"),
        ("title", ISO, 1.5, "1.5"),
        ("title", ISO, date(2026, 1, 31), "2026-01-31"),
        ("title", ISO, timedelta(days=1, hours=12), "36:00:00"),
        ("notes", ISO, '"\\\\u0000"', "\\u0000"),
        ("printed_on", ISO, "2024-02-29", date(2024, 2, 29)),
        ("printed_on", DE, "29.2.2024", date(2024, 2, 29)),
        ("printed_on", DE, "2024-02-29", date(2024, 2, 29)),
        ("printed_on", US, "2/29/2024", date(2024, 2, 29)),
        ("printed_on", ISO, naive(2024, 2, 29), date(2024, 2, 29)),
        ("opens_at", ISO, "8:30", time(8, 30)),
        ("opens_at", ISO, timedelta(hours=8), time(8)),
        ("read_at", ISO, "2026-01-31T08:00:00+02:00", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("read_at", ISO, "2026-01-31 08:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("read_at", ISO, "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("read_at", locale_of("iso", "Europe/Berlin"), "2026-07-31 08:00", datetime(2026, 7, 31, 6, tzinfo=UTC)),
        ("read_at", ISO, naive(2026, 1, 31, 8), datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("notes", ISO, '{"a": [1]}', {"a": [1]}),
        ("notes", ISO, 1.5, 1.5),
        ("cover", ISO, "AAEC", b"\0\1\2"),
        ("pages", ISO, "", None),
        ("pages", ISO, "  ", None),
        ("isbn", ISO, "", None),
    ],
)
def test_a_cell_means_what_its_locale_says(field, locale, cell, value):
    assert read(field, cell, locale) == value


@pytest.mark.parametrize(
    ("field", "locale", "cell", "reason"),
    [
        ("pages", ISO, "12.5", "'12.5' is no integer"),
        ("pages", ISO, "1_000", "'1_000' is no number"),
        ("pages", ISO, "١٢", "is no number"),
        ("pages", DE, "1.23", "is no number"),
        ("pages", ISO, "9223372036854775808", "outside the integers of 64 bits"),
        ("pages", ISO, "9" * 5000, "is no number"),
        ("pages", ISO, 1.2345678901234567e17, "keep it as text"),
        ("price", ISO, "1,5", "is no number"),
        ("price", DE, "1.5", "is no number; here one is written 1234,5"),
        ("price", ISO, "1.234", "more than 2 digits after the point"),
        ("price", ISO, "123456789", "more than 8 digits before the point"),
        ("weight", ISO, "1e999", "too large"),
        ("weight", ISO, "nan", "is no number"),
        ("is_new", ISO, "maybe", "neither true nor false"),
        ("title", ISO, "x" * 41, "has 41 characters, at most 40"),
        ("title", ISO, "a\0b", "NUL"),
        ("notes", ISO, '{"a": "\\ud800"}', "half of a surrogate pair"),
        ("notes", ISO, '["\\\\\\\\\\u0000"]', "NUL"),
        ("title", ISO, "", "must not be null"),
        ("state", ISO, "LOST", "is none of: NEW, SOLD"),
        ("printed_on", ISO, "2025-02-29", "not in the calendar"),
        ("printed_on", ISO, "31.01.2026", "is no date; here one is written YYYY-MM-DD"),
        ("printed_on", DE, "2.30.2024", "not in the calendar"),
        ("printed_on", ISO, naive(2026, 1, 1, 8), "has a time of day"),
        ("read_at", ISO, "yesterday", "is no instant"),
        ("read_at", ISO, "0001-01-01T00:00:00+14:00", "outside the years"),
        ("opens_at", ISO, "25:00", "not in the calendar or on the clock"),
        ("mark", ISO, "no", "no UUID"),
        ("notes", ISO, "{", "is no JSON"),
        ("cover", ISO, "?", "base64"),
    ],
)
def test_what_a_cell_cannot_mean_is_said(field, locale, cell, reason):
    with pytest.raises(ValueError, match=r".") as raised:
        read(field, cell, locale)
    assert reason in str(raised.value)


def test_values_of_json_are_what_they_are():
    assert read("title", "", is_json=True) == ""
    assert read("notes", "text", is_json=True) == "text"
    assert read("price", "12.50", is_json=True) == Decimal("12.50")
    assert read("read_at", "2026-01-31T08:00:00Z", is_json=True).hour == 8
    for field, value in (("title", 5), ("pages", True), ("is_new", 1), ("pages", 1.0), ("pages", "")):
        with pytest.raises(ValueError, match=r"."):
            read(field, value, is_json=True)


def test_nulls_are_what_the_params_say():
    locale = locale_of("iso", "UTC", nulls=frozenset({"", "N/A"}), keep_empty=True)
    assert (read("isbn", "N/A", locale), read("isbn", "", locale), read("pages", "N/A", locale)) == (None, "", None)


@pytest.mark.parametrize("form", ["DD.MM", "YYYY-MM-DD QQ", "YYYY YYYY MM DD", ""])
def test_a_format_that_is_no_date_is_refused(form):
    with pytest.raises(ValueError, match=r"."):
        date_pattern(form)


FIELDS = [
    *(BOOKS.fields[name] for name in ("title", "isbn", "pages", "price", "weight", "printed_on", "read_at", "mark")),
    Field("small", Kind.INTEGER, bits=16, nullable=False),
    Field("free", Kind.DECIMAL),
    Field("share", Kind.DECIMAL, precision=4, scale=4),
    Field("count", Kind.DECIMAL, precision=5, scale=0, nullable=False),
]
LIKELY = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["", "a\tb", "a\nb", "\\N", "\\.", "x" * 41, "é", "a\0"]),
    st.from_regex(r"[+-]?[0-9]{0,10}([.,][0-9]{1,3}){0,3}", fullmatch=True),
    st.from_regex(r"[0-9]{1,3}([., \u202f][0-9]{3}){1,2}([.,][0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"-?[0-9]{17,20}|[0-9]{1,5}[.][0-9]{300}|00000000001[.]50|1e-?[0-9]{1,3}", fullmatch=True),
    st.dates().map(str),
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](Z|[+]02:00)?)?", fullmatch=True),
    st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
    st.datetimes().map(lambda at: at.isoformat(" ")),
    st.uuids().map(str),
)


def plain(text: str) -> object:
    """Return the value that a COPY text stands for, so that 01.50 and 1.5 are one."""
    for kind in (Decimal, datetime.fromisoformat):
        try:
            return kind(text)
        except (ValueError, ArithmeticError):
            continue
    return text.lower()


ODD = replace(ISO, dates=("YYYY-DD-MM", "YYYY-DD-MM HH:mm:ss"))


@settings(max_examples=600)
@given(st.sampled_from(FIELDS), st.sampled_from([ISO, DE, US, FR, ODD]), st.lists(LIKELY, min_size=1, max_size=4))
def test_what_is_swift_is_what_cell_by_cell_says(field, locale, cells):
    """A column that passes as a whole is right in every cell, and means the same."""
    convert = swift(field, locale)
    found = None if convert is None else convert(cells)
    if found is None:
        return
    reader = CellReader(field, locale)
    assert len(found) == len(cells)
    for cell, text in zip(cells, found, strict=True):
        slow = copy_text(reader.read(cell))
        same = text == slow if field.kind is Kind.TEXT else plain(text) == plain(slow)
        assert same, (cell, text, slow)


@pytest.mark.parametrize(
    ("field", "cells"),
    [
        ("title", ["a", "b\t\\"]),
        ("isbn", ["", "x"]),
        ("pages", ["1", "", "-5"]),
        ("price", ["1.50", "", "-99999999.99"]),
        ("printed_on", ["2024-02-29", ""]),
        ("read_at", ["2024-02-29T08:00:00Z", "", "2024-02-29 08:00:00.5+02:00"]),
        ("read_at", ["2024-02-29T08:00:00", ""]),
    ],
)
def test_what_is_usual_is_swift(field, cells):
    assert swift(BOOKS.fields[field], ISO)(cells) is not None


def column(name: str, dialect, **options) -> Column:
    return Column(BOOKS.fields[name], BOOKS.table.c[name], dialect, options.pop("locale", ISO), **options)


def test_a_column_says_of_each_place_what_does_not_fit():
    found, faults = column("pages", PG).convert(["1", "x", "", "x"])
    assert [*found] == ["1", None, "\\N", None]
    assert faults == {1: "'x' is no number", 3: "'x' is no number"}
    found, faults = column("pages", LITE).convert(["1", "", "y"])
    assert ([*found], [*faults]) == ([1, None, None], [2])


def test_every_kind_has_its_text_for_copy():
    for name, cell, text in (
        ("is_new", "yes", "t"),
        ("state", "SOLD", "SOLD"),
        ("notes", '{"a": "x\\ty"}', '{"a": "x\\\\ty"}'),
        ("cover", "AAEC", "\\\\x000102"),
        ("opens_at", "8:30", "08:30:00"),
        ("mark", "0190A3B4-0000-7000-8000-000000000001", "0190A3B4-0000-7000-8000-000000000001"),
        ("local_at", "2026-01-31T08:00:00+02:00", "2026-01-31T06:00:00"),
    ):
        found, faults = column(name, PG).convert([cell])
        assert ([*found], faults) == ([text], {})


def test_sqlite_keeps_fifteen_digits_of_a_decimal():
    free = Column(Field("free", Kind.DECIMAL), SqlColumn("free", Integer), LITE, ISO)
    assert "15 digits" in free.convert(["1234567890.123456"])[1][0]


class Shouted(TypeDecorator):
    """A plugin's own type."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value and value.upper()


def test_a_plugin_s_own_type_has_its_say():
    shouted = Column(Field("name", Kind.TEXT), SqlColumn("name", Shouted()), PG, ISO)
    assert [*shouted.convert(["a", ""])[0]] == ["A", "\\N"]


def test_what_a_cell_names_is_looked_up_once():
    asked = []

    def resolve(names):
        asked.append(names)
        return {name: ValueError(f"nobody is called {name}") if name == "Eve" else len(name) for name in names}

    maker = column("pages", PG, reads=Field("name", Kind.TEXT))
    maker.resolve = resolve
    found, faults = maker.convert(["Ada", "Eve", "", "Ada"])
    assert ([*found], faults, asked) == (["3", None, "\\N", "3"], {1: "nobody is called Eve"}, [["Ada", "Eve"]])


def test_a_zone_is_that_of_the_params():
    assert locale_of("de", "Europe/Berlin").zone == ZoneInfo("Europe/Berlin")
    column = SqlColumn("at", DateTime())
    at = Column(Field("at", Kind.INSTANT), column, LITE, locale_of("iso", "Europe/Berlin"))
    assert [*at.convert(["2026-01-31 08:00"])[0]] == [naive(2026, 1, 31, 7)]
