"""A column as the API sees it: which JSON values fit it, what they are in Python, and how they are shown again."""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")

DECIMAL = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?", re.ASCII)
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII)
HEX_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""In the text of JSON, where a backslash stands for itself as two."""
MAX_EXPONENT = 400
FLOAT_DIGITS = 15
"""So many decimal digits survive a number of JSON; what has more is given as a string."""


class Kind(StrEnum):
    """What the values of a field are."""

    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TEXT = "text"
    CHOICE = "choice"
    INSTANT = "instant"
    DATE = "date"
    TIME = "time"
    UUID = "uuid"
    JSON = "json"
    BINARY = "binary"


ORDERED = frozenset(Kind) - {Kind.BOOLEAN, Kind.CHOICE, Kind.JSON, Kind.BINARY}
"""Kinds whose values can be compared by more and less."""
SORTABLE = ORDERED | {Kind.BOOLEAN, Kind.CHOICE}
OPAQUE = frozenset({Kind.JSON, Kind.BINARY})
"""Kinds of which a filter can only ask whether there is a value."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a resource.

    Values come in as JSON has them or as Python does: a decimal as ``"12.50"`` or ``Decimal``, an instant as RFC 3339
    text or as an aware ``datetime``. They go out to code as Python values, instants in UTC, and to JSON by ``show``.
    """

    name: str
    kind: Kind
    title: str = ""
    nullable: bool = True
    is_key: bool = False
    """Part of the primary key."""
    is_required: bool = False
    """Must be given when a record is created."""
    is_computed: bool = False
    """Made by the database; cannot be given."""
    bits: int = 64
    """How large an integer may be."""
    length: int | None = None
    """How many characters a text may have."""
    precision: int | None = None
    scale: int | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What a choice may be: its name in JSON, and what it is in Python."""
    as_text: bool = False
    """A UUID that is a string in Python, too."""

    def read(self, value: Any) -> Any:
        """Return ``value`` as Python has it; None stays None. Raises ``ValueError`` in words for whoever gave it."""
        return None if value is None else READERS[self.kind](self, value)

    def accept(self, value: Any) -> Any:
        """Return ``value`` as it may be stored: read, and within the bounds of the column. Raises ``ValueError``."""
        if value is None:
            if self.nullable:
                return None
            raise ValueError("must not be null")
        found = READERS[self.kind](self, value)
        if self.kind is Kind.TEXT and self.length is not None and len(found) > self.length:
            raise ValueError(f"has {len(found)} characters, at most {self.length}")
        if self.kind is Kind.DECIMAL:
            self._check_digits(found)
        return found

    def show(self, value: Any) -> Any:
        """Return a Python value of this field as JSON has it."""
        shower = SHOWERS.get(self.kind)
        return value if value is None or shower is None else shower(self, value)

    def _check_digits(self, value: Decimal) -> None:
        if self.scale is not None and places_of(value) > self.scale:
            raise ValueError(f"has more than {self.scale} digits after the point")
        if self.precision is not None:
            whole = self.precision - (self.scale or 0)
            if value and value.adjusted() + 1 > whole:
                raise ValueError(f"has more than {whole} digits before the point")


def places_of(value: Decimal) -> int:
    """Return how many digits after the point ``value`` needs. Exact: no context rounds here."""
    if not value:
        return 0
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "a number that is finite"
    zeros = next((count for count, digit in enumerate(reversed(digits)) if digit), len(digits))
    return max(0, -exponent - zeros)


def _integer(of: Field, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{_quoted(value)} is no integer")
    if not -(1 << (of.bits - 1)) <= value < 1 << (of.bits - 1):
        raise ValueError(f"is outside the integers of {of.bits} bits")
    return int(value)


def _float(of: Field, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_quoted(value)} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("is too large a number")
    return number


def _decimal(of: Field, value: Any) -> Decimal:
    number: Decimal | None = None
    if (isinstance(value, Decimal | int) and not isinstance(value, bool)) or (
        isinstance(value, str) and DECIMAL.fullmatch(value)
    ):
        number = Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        number = Decimal(repr(value))
        if len(number.as_tuple().digits) > FLOAT_DIGITS:
            raise ValueError(f'has more digits than a JSON number keeps; give it as a string, "{number}"')
    if number is None or not number.is_finite():
        raise ValueError(f'{_quoted(value)} is no decimal; give an exact string such as "12.50"')
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("is too large or too small a decimal")
    return number


def _boolean(of: Field, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_quoted(value)} is neither true nor false")
    return value


def _text(of: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_quoted(value)} is no text")
    if "\0" in value:
        raise ValueError("holds the character NUL, which databases do not store")
    _check_pairs(value)
    return value


def _check_pairs(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair") from None


def _choice(of: Field, value: Any) -> Any:
    if isinstance(value, Enum) and value in of.choices.values():
        return value
    if not isinstance(value, str) or value not in of.choices:
        raise ValueError(f"{_quoted(value)} is none of: {', '.join(of.choices)}")
    return of.choices[value]


def _instant(of: Field, value: Any) -> datetime:
    instant = value
    if isinstance(value, str) and INSTANT.fullmatch(value):
        instant = _parsed(datetime.fromisoformat, value)
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise ValueError(f"{_quoted(value)} is no instant; give RFC 3339 such as 2026-01-31T08:00:00Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999") from None


def _date(of: Field, value: Any) -> date:
    if isinstance(value, str) and DATE.fullmatch(value):
        return _parsed(date.fromisoformat, value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError(f"{_quoted(value)} is no date; give 2026-01-31")


def _time(of: Field, value: Any) -> time:
    if isinstance(value, str) and TIME.fullmatch(value):
        return _parsed(time.fromisoformat, value)
    if isinstance(value, time) and value.tzinfo is None:
        return value
    raise ValueError(f"{_quoted(value)} is no time of day; give 08:30:00")


def _uuid(of: Field, value: Any) -> UUID | str:
    if isinstance(value, str) and HEX_UUID.fullmatch(value):
        value = UUID(value)
    if not isinstance(value, UUID):
        raise ValueError(f"{_quoted(value)} is no UUID")
    return str(value) if of.as_text else value


def _json(of: Field, value: Any) -> Any:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        raise ValueError("is no JSON value") from None
    if "\\u0000" in text and ESCAPED_NUL.search(text):
        raise ValueError("holds the character NUL, which databases do not store")
    _check_pairs(text)
    return value


def _binary(of: Field, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("is no base64 text") from None


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text.upper())
    except ValueError:
        raise ValueError(f"{text!r} is not in the calendar or on the clock") from None


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


READERS: Mapping[Kind, Callable[[Field, Any], Any]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.TEXT: _text,
    Kind.CHOICE: _choice,
    Kind.INSTANT: _instant,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
    Kind.BINARY: _binary,
}


def _chosen(of: Field, value: Any) -> str:
    return next((name for name, member in of.choices.items() if member == value), str(value))


SHOWERS: Mapping[Kind, Callable[[Field, Any], Any]] = {
    Kind.FLOAT: lambda of, value: value if math.isfinite(value) else str(value),
    Kind.DECIMAL: lambda of, value: format(value, "f"),
    Kind.CHOICE: _chosen,
    Kind.INSTANT: lambda of, value: value.isoformat().replace("+00:00", "Z"),
    Kind.DATE: lambda of, value: value.isoformat(),
    Kind.TIME: lambda of, value: value.isoformat(),
    Kind.UUID: lambda of, value: str(value),
    Kind.BINARY: lambda of, value: base64.b64encode(value).decode(),
}
"""Kinds whose Python values JSON does not have."""
