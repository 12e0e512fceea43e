"""JSON Lines: one record a line, as the API shows it, under the names of its fields."""

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

from builtin_plugins.exchange.output.sheet import Batch, Sheet
from nocohost import Kind

SHOWN_AS_IS = frozenset({Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN, Kind.JSON})


def write_json(sheet: Sheet, file: BinaryIO, batches: Iterable[Batch]) -> dict[str, Any]:
    """Write JSON Lines in UTF-8."""
    names = [column.name for column in sheet.columns]
    shows = [None if field.kind in SHOWN_AS_IS else field.show for field in sheet.fields]
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    for batch in batches:
        columns = [
            values if show is None else [show(value) for value in values]
            for values, show in zip(zip(*batch, strict=True), shows, strict=True)
        ]
        lines = [encode(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
        file.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
    return {}
