"""The row errors of a task as a CSV, which spreadsheets open without running anything in it."""

import csv
import io
from collections.abc import AsyncIterator, Sequence

from builtin_plugins.async_task.records import list_errors
from nocohost import App

ERROR_ROWS = 1000
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula."""


async def error_csv(app: App, task_id: str) -> AsyncIterator[bytes]:
    """Yield the CSV, titles first, some rows at a time."""
    yield _lines([("row", "field", "value", "reason")])
    first = 0
    while True:
        async with app.database.connect() as connection:
            rows = await list_errors(connection, task_id, first=first, limit=ERROR_ROWS)
        if not rows:
            return
        yield _lines([(row.row, _guarded(row.field), _guarded(row.value), _guarded(row.reason)) for row in rows])
        first = rows[-1].number + 1


def _lines(rows: Sequence[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _guarded(text: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
