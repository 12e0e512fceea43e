"""How people of one place write numbers, dates and yes; declared, never guessed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

YES = frozenset({"true", "t", "yes", "y", "1", "on"})
NO = frozenset({"false", "f", "no", "n", "0", "off"})
TOKENS: Mapping[str, str] = {
    "YYYY": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d{2})",
    "M": r"(?P<month>\d{1,2})",
    "DD": r"(?P<day>\d{2})",
    "D": r"(?P<day>\d{1,2})",
    "HH": r"(?P<hour>\d{2})",
    "H": r"(?P<hour>\d{1,2})",
    "mm": r"(?P<minute>\d{2})",
    "ss": r"(?P<second>\d{2})",
}
TOKEN = re.compile("YYYY|MM|M|DD|D|HH|H|mm|ss|[A-Za-z]+|.", re.DOTALL)
DAY = frozenset({"year", "month", "day"})


@dataclass(frozen=True, slots=True)
class Locale:
    """What the text of a cell means. Dates and instants as ISO 8601 has them are understood everywhere."""

    decimal: str = "."
    thousands: str = ""
    dates: tuple[str, ...] = ()
    yes: frozenset[str] = YES
    no: frozenset[str] = NO
    nulls: frozenset[str] = frozenset({""})
    keep_empty: bool = False
    """An empty cell of a text field is an empty text."""
    zone: tzinfo = field(default=UTC)
    """Of instants that say no offset."""


PRESETS: Mapping[str, Locale] = {
    "iso": Locale(),
    "en-US": Locale(thousands=",", dates=("M/D/YYYY",)),
    "en-GB": Locale(thousands=",", dates=("D/M/YYYY",)),
    "de": Locale(
        decimal=",",
        thousands=".",
        dates=("D.M.YYYY",),
        yes=YES | {"ja", "j", "wahr"},
        no=NO | {"nein", "falsch"},
    ),
    "fr": Locale(
        decimal=",",
        thousands=" ",
        dates=("D/M/YYYY",),
        yes=YES | {"oui", "o", "vrai"},
        no=NO | {"non", "faux"},
    ),
    "es": Locale(
        decimal=",",
        thousands=".",
        dates=("D/M/YYYY",),
        yes=YES | {"sí", "si", "s", "verdadero"},
        no=NO | {"falso"},
    ),
    "it": Locale(
        decimal=",",
        thousands=".",
        dates=("D/M/YYYY",),
        yes=YES | {"sì", "si", "s", "vero"},
        no=NO | {"falso"},
    ),
    "nl": Locale(decimal=",", thousands=".", dates=("D-M-YYYY",), yes=YES | {"ja", "j"}, no=NO | {"nee"}),
    "pl": Locale(decimal=",", thousands=" ", dates=("D.M.YYYY",), yes=YES | {"tak"}, no=NO | {"nie"}),
}
SPACES = " \u00a0\u202f"
"""What may part thousands where a blank does: Excel and CLDR write blanks that do not break."""


def locale_of(name: str, zone: str, **given: object) -> Locale:
    """Return the preset ``name`` with what is given besides; what is None is the preset's."""
    preset = PRESETS[name]
    changes = {key: value for key, value in given.items() if value is not None}
    return replace(preset, zone=UTC if zone == "UTC" else ZoneInfo(zone), **changes)  # type: ignore[arg-type]


def date_pattern(form: str) -> re.Pattern[str]:
    """Return what fits a format such as ``DD.MM.YYYY`` or ``M/D/YYYY HH:mm``; raises ``ValueError``."""
    parts: list[str] = []
    seen: set[str] = set()
    for token in TOKEN.findall(form):
        if token in TOKENS:
            name = TOKENS[token][3:].partition("<")[2].partition(">")[0]
            if name in seen:
                raise ValueError(f"{form!r} has the {name} twice")
            seen.add(name)
            parts.append(TOKENS[token])
        elif token.isalpha():
            raise ValueError(f"{form!r}: {token!r} is no part of a date; known: {', '.join(TOKENS)}")
        else:
            parts.append(re.escape(token))
    if not seen >= DAY:
        raise ValueError(f"{form!r} does not say year, month and day, such as DD.MM.YYYY")
    return re.compile("".join(parts), re.ASCII)


def number_pattern(locale: Locale) -> str:
    """Return the form of a number, without exponent: whole part, by thousands if the locale has them, and fraction."""
    whole = r"\d{1,400}"
    if locale.thousands:
        mark = f"[{SPACES}]" if locale.thousands == " " else re.escape(locale.thousands)
        whole = rf"(?:\d{{1,3}}(?:{mark}\d{{3}})+|\d{{1,400}})"
    return rf"[+-]?{whole}(?:{re.escape(locale.decimal)}\d{{1,400}})?"


def plain_numbers(text: str, locale: Locale) -> str:
    """Return text of numbers that fit the pattern as Python writes them."""
    if locale.thousands:
        for mark in SPACES if locale.thousands == " " else locale.thousands:
            text = text.replace(mark, "")
    return text if locale.decimal == "." else text.replace(locale.decimal, ".")


def known_formats(forms: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of some formats."""
    return tuple(map(date_pattern, forms))
