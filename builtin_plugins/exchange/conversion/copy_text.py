r"""Values as the text form of PostgreSQL's COPY has them: tabs between them, \N for null."""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

NULL = "\\N"
ESCAPES: Mapping[int, str] = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def escaped(text: str) -> str:
    """Return a text as it stands between tabs."""
    return text.translate(ESCAPES)


def copy_text(value: Any) -> str:
    """Return a Python value in the text form of COPY."""
    if value is None:
        return NULL
    writer = WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    for kind, write in WRITERS.items():
        if isinstance(value, kind):
            return write(value)
    return escaped(str(value))


def json_text(value: Any) -> str:
    """Return a JSON value in the text form of COPY."""
    return NULL if value is None else escaped(json.dumps(value, allow_nan=False))


WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: escaped,
    bool: lambda value: "t" if value else "f",
    int: str,
    float: repr,
    Decimal: lambda value: format(value, "f"),
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
    bytes: lambda value: "\\\\x" + value.hex(),
    Enum: lambda value: escaped(value.name),
    dict: json_text,
    list: json_text,
}
