"""Whole columns of text at once: most columns are right in every cell, and one expression tells.

Each function takes the cells of a column, an empty one being null, and returns them in the text form of COPY; None when
anything at all is unusual, which is then looked at cell by cell. They are exact: what they let pass, ``cell`` does too.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from math import isfinite

from builtin_plugins.exchange.conversion.copy_text import ESCAPES, NULL
from builtin_plugins.exchange.conversion.locale import SPACES, Locale, plain_numbers
from nocohost import Field, Kind

Swift = Callable[[Sequence[str]], Sequence[str] | None]
OFFSET = r"(?:Z|[+-](?:0\d|1[0-5]):[0-5]\d)"
"""What PostgreSQL takes; Python goes up to a day."""
MOMENT = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?"
FIRST_YEAR, LAST_DAY = "0002", "9999-12-31"
"""Instants between these are in the calendar by every clock."""


def swift(field: Field, locale: Locale) -> Swift | None:
    """Return what converts whole columns of this field; None for fields that are always looked at cell by cell."""
    if locale.nulls != {""} or (field.precision is not None and field.precision == field.scale):
        return None
    if field.kind is Kind.TEXT:
        return _texts(field, locale)
    if field.kind in (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL):
        return _numbers(field, locale)
    if field.kind is Kind.UUID and not field.as_text:
        return _fitting(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", field, lambda cells: True)
    if any(form.startswith("YYYY-") for form in locale.dates):
        return None  # what looks like ISO 8601 may mean another day
    if field.kind is Kind.DATE:
        return _fitting(r"\d{4}-\d\d-\d\d", field, _are_days)
    if field.kind is Kind.INSTANT and locale.zone is UTC:
        return _instants(field)
    return None


def _texts(field: Field, locale: Locale) -> Swift:
    length = field.length
    empty_fits = locale.keep_empty

    def convert(cells: Sequence[str]) -> Sequence[str] | None:
        if not empty_fits and "" in cells:
            if not field.nullable:
                return None
            has_nulls = True
        else:
            has_nulls = False
        joined = "".join(cells)
        if "\0" in joined or (length is not None and max(map(len, cells)) > length):
            return None
        if "\\" in joined or "\n" in joined or "\r" in joined or "\t" in joined:
            cells = [cell.translate(ESCAPES) for cell in cells]
        return [cell or NULL for cell in cells] if has_nulls else cells

    return convert


def _fitting(form: str, field: Field, fits: Callable[[Sequence[str]], bool]) -> Swift:
    """Return what lets cells pass as they are: of this form, and such that ``fits`` says yes to those with a value."""
    pattern = re.compile(rf"(?:{form})?(?:\n(?:{form})?)*", re.ASCII)

    def convert(cells: Sequence[str]) -> Sequence[str] | None:
        joined = "\n".join(cells)
        if pattern.fullmatch(joined) is None or joined.count("\n") != len(cells) - 1:
            return None
        if "" not in cells:
            return cells if fits(cells) else None
        if not field.nullable or not fits([cell for cell in cells if cell]):
            return None
        return [cell or NULL for cell in cells]

    return convert


def _numbers(field: Field, locale: Locale) -> Swift:
    digits = rf"\d{{1,{_whole_digits(field)}}}"
    whole = digits
    if locale.thousands:
        mark = f"[{SPACES}]" if locale.thousands == " " else re.escape(locale.thousands)
        whole = rf"(?:\d{{1,3}}(?:{mark}\d{{3}}){{1,{max(1, (_whole_digits(field) - 1) // 3)}}}|{digits})"
    fraction = rf"(?:{re.escape(locale.decimal)}\d{{1,{_fraction_digits(field)}}})?" if _fraction_digits(field) else ""
    check = _are_integers(field) if field.kind is Kind.INTEGER else (lambda cells: True)
    if field.kind is Kind.DECIMAL and locale.thousands and field.precision is not None:
        check = _are_short(_whole_digits(field))
    plain = not locale.thousands and locale.decimal == "."
    if field.kind is not Kind.FLOAT and plain:
        return _fitting(rf"[+-]?{whole}{fraction}", field, check)
    shaped = _fitting(rf"[+-]?{whole}{fraction}", field, lambda cells: True)

    def convert(cells: Sequence[str]) -> Sequence[str] | None:
        found = shaped(cells)
        if found is None:
            return None
        numbers = found if plain else plain_numbers("\n".join(found), locale).split("\n")
        values = [number for number in numbers if number != NULL] if NULL in numbers else numbers
        if field.kind is not Kind.FLOAT:
            return numbers if check(values) else None
        floats = list(map(float, values))
        if not isfinite(sum(map(abs, floats))):
            return None
        written = iter(map(repr, floats))
        return [NULL if number == NULL else next(written) for number in numbers]

    return convert


def _whole_digits(field: Field) -> int:
    if field.kind is Kind.INTEGER:
        return 18
    if field.kind is Kind.DECIMAL and field.precision is not None:
        return max(1, field.precision - (field.scale or 0))
    return 300


def _fraction_digits(field: Field) -> int:
    if field.kind is Kind.INTEGER:
        return 0
    return 300 if field.kind is Kind.FLOAT or field.scale is None else field.scale


def _are_integers(field: Field) -> Callable[[Sequence[str]], bool]:
    bound = 1 << (field.bits - 1)

    def check(cells: Sequence[str]) -> bool:
        if not cells:
            return True
        numbers = list(map(int, cells))
        return max(numbers) < bound and min(numbers) >= -bound

    return check


def _are_short(digits: int) -> Callable[[Sequence[str]], bool]:
    return lambda cells: all(len(cell.partition(".")[0].lstrip("+-")) <= digits for cell in cells)


def _are_days(cells: Sequence[str]) -> bool:
    try:
        list(map(date.fromisoformat, set(cells)))
    except ValueError:
        return False
    return True


def _are_instants(cells: Sequence[str]) -> bool:
    if cells and (min(cells) < FIRST_YEAR or max(cells) >= LAST_DAY):
        return False
    try:
        list(map(datetime.fromisoformat, cells))
    except ValueError:
        return False
    return True


def _instants(field: Field) -> Swift:
    placed = _fitting(MOMENT + OFFSET, field, _are_instants)
    local = _fitting(MOMENT, field, _are_instants)

    def convert(cells: Sequence[str]) -> Sequence[str] | None:
        found = placed(cells)
        if found is not None:
            return found
        found = local(cells)
        return None if found is None else [cell if cell == NULL else f"{cell}Z" for cell in found]

    return convert
