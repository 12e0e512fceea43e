"""Filters as SQL. Every value is a parameter; null is a value like any other, so conditions are never unknown."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, and_, false, func, or_, true, type_coerce
from sqlalchemy.sql import operators

from nocohost.api.field import Kind
from nocohost.api.filter import AllOf, AnyOf, Condition, Filter, NotOf, Operator
from nocohost.store.resources.shape import Shape

COMPARISONS: Mapping[Operator, Any] = {
    Operator.GT: operators.gt,
    Operator.GE: operators.ge,
    Operator.LT: operators.lt,
    Operator.LE: operators.le,
}


def where(shape: Shape, found: Filter) -> ColumnElement[bool]:
    """Return the condition that a record of ``shape`` fits the filter."""
    if isinstance(found, AllOf):
        return and_(true(), *(where(shape, part) for part in found.parts))
    if isinstance(found, AnyOf):
        return or_(false(), *(where(shape, part) for part in found.parts))
    if isinstance(found, NotOf):
        # What SQL calls unknown, since it met a null, does not hold; so its opposite does.
        return where(shape, found.part).is_not(true())
    return _condition(shape, found)


def _condition(shape: Shape, one: Condition) -> ColumnElement[bool]:
    column, operator, value = shape.columns[one.field], one.operator, one.value
    if operator is Operator.NULL:
        return column.is_(None) if value else column.is_not(None)
    if operator is Operator.EQ:
        return _among(shape, one.field, (value,))
    if operator is Operator.NE:
        return _not_among(shape, one.field, (value,))
    if operator is Operator.IN:
        return _among(shape, one.field, value)
    if operator is Operator.NIN:
        return _not_among(shape, one.field, value)
    if operator is Operator.CONTAINS:
        return func.instr(column, value) > 0 if shape.is_sqlite else column.contains(value, autoescape=True)
    if operator is Operator.STARTS_WITH:
        return _starts_with(shape, column, value)
    if _is_text_instant(shape, one.field):
        least, greatest = instant_texts(value)
        edge = greatest if operator in (Operator.GT, Operator.LE) else least
        return COMPARISONS[operator](type_coerce(column, String), edge)  # type: ignore[no-any-return]
    return COMPARISONS[operator](column, shape.bound(one.field, value))  # type: ignore[no-any-return]


def _among(shape: Shape, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
    column = shape.columns[name]
    given = [shape.bound(name, value) for value in values if value is not None]
    asks_null = len(given) < len(values)
    if not given:
        return column.is_(None) if asks_null else false()
    if _is_text_instant(shape, name):
        fits = type_coerce(column, String).in_(
            [text for value in given for text in dict.fromkeys(instant_texts(value))]
        )
    elif len(given) == 1:
        fits = column == given[0]
    else:
        fits = column.in_(given)
    return or_(fits, column.is_(None)) if asks_null else fits


def _not_among(shape: Shape, name: str, values: Sequence[Any]) -> ColumnElement[bool]:
    column = shape.columns[name]
    given = [value for value in values if value is not None]
    if not given:
        return column.is_not(None) if values else true()
    differs = ~_among(shape, name, given)
    if len(given) < len(values) or not shape.fields[name].nullable:
        return differs  # unknown of null, which is asked not to be among them
    return or_(differs, column.is_(None))


def _starts_with(shape: Shape, column: Any, value: str) -> ColumnElement[bool]:
    if not shape.is_sqlite:
        return column.startswith(value, autoescape=True)  # type: ignore[no-any-return]
    # LIKE of SQLite takes ASCII letters for equal; GLOB does not, and can use an index.
    pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in value)
    return column.op("GLOB", is_comparison=True)(f"{pattern}*")  # type: ignore[no-any-return]


def _is_text_instant(shape: Shape, name: str) -> bool:
    return shape.is_raw(name) and shape.fields[name].kind is Kind.INSTANT


def instant_texts(value: datetime) -> tuple[str, str]:
    """Return the least and the greatest text that SQLite may have for an instant: without and with a fraction."""
    text = value.replace(tzinfo=None).isoformat(" ")
    return (text, text) if value.microsecond else (text, f"{text}.000000")
