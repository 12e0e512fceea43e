"""One cell as a value of its field, exactly, with a sentence for whoever wrote what does not fit."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from builtin_plugins.exchange.conversion.locale import Locale, known_formats, number_pattern, plain_numbers
from builtin_plugins.exchange.source.xlsx_rows import plain_text
from nocohost import Field, Kind

T = TypeVar("T")
ISO_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?: ?[Zz]| ?[+-]\d\d:?\d\d)?)?", re.ASCII
)
EXPONENT = re.compile(r"([+-]?\d{1,40}(?:\.\d{1,40})?)[eE]([+-]?\d{1,3})", re.ASCII)
CELL_DIGITS = 15
"""So many digits of a number Excel shows; what is behind them is noise of its arithmetic."""


class CellReader:
    """Reads what a CSV or XLSX cell, or a value of JSON, says of one field."""

    def __init__(self, field: Field, locale: Locale, *, is_json: bool = False) -> None:
        self._field = field
        self._locale = locale
        self._is_json = is_json
        self._number = re.compile(number_pattern(locale), re.ASCII)
        self._dates = known_formats(locale.dates)
        self._read = READERS[field.kind]
        keeps = field.kind is Kind.TEXT and locale.keep_empty
        self.nulls: frozenset[str] = frozenset() if is_json else locale.nulls - ({""} if keeps else set())

    def read(self, value: Any) -> Any:
        """Return the value of the field, None for null; raises ``ValueError``."""
        if value is None or (isinstance(value, str) and value in self.nulls):
            return self._field.accept(None)
        if self._is_json and (not isinstance(value, str) or self._field.kind in (Kind.JSON, Kind.TEXT)):
            return self._field.accept(value)
        if isinstance(value, str) and self._field.kind is not Kind.TEXT:
            value = value.strip()
            if value in self.nulls:
                return self._field.accept(None)
        return self._field.accept(self._read(self, value))

    def number(self, value: Any) -> str:
        """Return a number as Python writes it; raises ``ValueError``."""
        if isinstance(value, bool | date | time | timedelta):
            raise ValueError(f"{plain_text(value)!r} is no number")
        if isinstance(value, float):
            return f"{value:.{CELL_DIGITS}g}"
        text = str(value)
        if self._number.fullmatch(text):
            return plain_numbers(text, self._locale)
        if EXPONENT.fullmatch(text):
            return text
        raise ValueError(f"{_quoted(text)} is no number{self._written()}")

    def integer(self, value: Any) -> int:
        """Return a whole number; one with a fraction of zeros is one too."""
        text = self.number(value)
        whole, _, fraction = text.partition(".")
        if "e" in text.lower():
            number = float(text)
            if not number.is_integer() or abs(number) >= 10**CELL_DIGITS:
                raise ValueError(
                    f"{_quoted(str(value))} is no integer of at most {CELL_DIGITS} digits; keep it as text"
                )
            return int(number)
        if fraction.strip("0"):
            raise ValueError(f"{_quoted(str(value))} is no integer")
        if len(whole) > 40:
            raise ValueError(f"is outside the integers of {self._field.bits} bits")
        return int(whole)

    def boolean(self, value: Any) -> bool:
        """Return whether a cell says yes."""
        if isinstance(value, bool):
            return value
        word = plain_text(value).casefold()
        if word in self._locale.yes:
            return True
        if word in self._locale.no:
            return False
        raise ValueError(f"{_quoted(word)} is neither true nor false")

    def day(self, value: Any) -> date:
        """Return a date; an instant at midnight is one too."""
        if isinstance(value, datetime):
            if value.timetz() != time():
                raise ValueError(f"{_quoted(plain_text(value))} is no date: it has a time of day")
            return value.date()
        if isinstance(value, date):
            return value
        text = plain_text(value)
        found = self._formatted(text)
        if found is not None:
            return self.day(found)
        if len(text) == 10 and ISO_INSTANT.fullmatch(text):
            return _calendar(date.fromisoformat, text)
        raise ValueError(f"{_quoted(text)} is no date{self._dated()}")

    def instant(self, value: Any) -> datetime:
        """Return an instant in UTC; one without offset is in the zone of the locale, a date its first moment there."""
        text = plain_text(value)
        if isinstance(value, date):
            found = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
        else:
            dated = self._formatted(text)
            if dated is None:
                if not ISO_INSTANT.fullmatch(text):
                    raise ValueError(f"{_quoted(text)} is no instant{self._dated()}")
                dated = _calendar(datetime.fromisoformat, text.upper().replace(" Z", "Z").replace(" +", "+"))
            found = dated
        if found.tzinfo is None:
            found = found.replace(tzinfo=self._locale.zone)
        try:
            return found.astimezone(UTC)
        except OverflowError:
            raise ValueError("is outside the years 1 to 9999") from None

    def clock(self, value: Any) -> time | str:
        """Return a time of day."""
        if isinstance(value, time):
            return value
        if isinstance(value, timedelta) and timedelta() <= value < timedelta(days=1):
            return (datetime(1, 1, 1) + value).time()  # noqa: DTZ001
        text = plain_text(value)
        return f"0{text}" if len(text) in (4, 7) and text[1] == ":" else text

    def _formatted(self, text: str) -> datetime | None:
        for pattern in self._dates:
            found = pattern.fullmatch(text)
            if found is not None:
                parts: dict[str, Any] = {name: int(digits) for name, digits in found.groupdict().items()}
                return _calendar(lambda _: datetime(**parts), text)  # noqa: DTZ001, B023 - called here and now
        return None

    def _written(self) -> str:
        example = {".": "1234.5", ",": "1234,5"}.get(self._locale.decimal, "")
        return f"; here one is written {example}" if example == "1234,5" else ""

    def _dated(self) -> str:
        return f"; here one is written {' or '.join((*self._locale.dates, 'YYYY-MM-DD'))}"


def _structure(reader: CellReader, value: Any) -> Any:
    if not isinstance(value, str):
        return value if isinstance(value, bool | int | float) else plain_text(value)
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{_quoted(value)} is no JSON") from None


def _calendar(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{_quoted(text)} is not in the calendar or on the clock") from None


def _quoted(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


READERS: Mapping[Kind, Callable[[CellReader, Any], Any]] = {
    Kind.INTEGER: CellReader.integer,
    Kind.FLOAT: lambda reader, value: float(reader.number(value)) if not isinstance(value, float) else value,
    Kind.DECIMAL: CellReader.number,
    Kind.BOOLEAN: CellReader.boolean,
    Kind.TEXT: lambda reader, value: plain_text(value),
    Kind.CHOICE: lambda reader, value: plain_text(value),
    Kind.INSTANT: CellReader.instant,
    Kind.DATE: CellReader.day,
    Kind.TIME: CellReader.clock,
    Kind.UUID: lambda reader, value: plain_text(value),
    Kind.JSON: _structure,
    Kind.BINARY: lambda reader, value: plain_text(value),
}
