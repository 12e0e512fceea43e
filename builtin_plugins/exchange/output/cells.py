"""A value as the text of a cell, alike for what Python writes and what PostgreSQL writes itself."""

import json
from collections.abc import Callable
from typing import Any

from builtin_plugins.exchange.guard import guarded
from nocohost import Field, Kind

Text = Callable[[Any], str]


def text_of(field: Field, *, guard: bool) -> Text | None:
    """Return what makes the text of a value that is not None; None where Python's own is right."""
    if field.kind in (Kind.TEXT, Kind.CHOICE):
        shown: Text = str if field.kind is Kind.TEXT else field.show
        if not guard:
            return None if field.kind is Kind.TEXT else shown
        return guarded if field.kind is Kind.TEXT else lambda value: guarded(field.show(value))
    if field.kind is Kind.INTEGER:
        return None
    if field.kind is Kind.BOOLEAN:
        return lambda value: "true" if value else "false"
    if field.kind is Kind.JSON:
        return lambda value: json.dumps(value, ensure_ascii=False)
    if field.kind is Kind.FLOAT:
        return lambda value: repr(value) if isinstance(value, float) else str(value)
    return field.show


def texts_of(values: list[Any], text: Text | None) -> list[Any]:
    """Return the values of one column as texts; None stays None."""
    return values if text is None else [None if value is None else text(value) for value in values]
