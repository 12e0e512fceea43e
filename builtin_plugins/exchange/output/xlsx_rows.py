"""A workbook, written with a memory that does not grow: numbers as numbers, texts as texts and never as formulas."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from builtin_plugins.exchange.output.sheet import Batch, Sheet
from nocohost import Field, Kind

MAX_ROWS = 1_048_576
"""What a sheet may hold, the titles included; more rows go on in another sheet."""
MAX_LETTERS = 32_767
EXACT_DIGITS = 15
"""So many digits survive a number of a workbook; what has more is written as text."""
FIRST_YEAR = 1900
Write = Callable[[int, int, Any], object]


def write_xlsx(sheet: Sheet, file: BinaryIO, batches: Iterable[Batch]) -> dict[str, Any]:
    """Write a workbook; returns how many sheets it has, and how many texts were cut to what a cell may hold.

    Rows wait in files of a folder of their own until the workbook is packed: who is cancelled leaves none behind, and
    packs nothing.
    """
    import xlsxwriter

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "use_zip64": True}
    with TemporaryDirectory(prefix="nocohost-export-") as folder:
        book = xlsxwriter.Workbook(file, {**options, "tmpdir": folder})
        try:
            writing = _Writing(sheet, book)
            for batch in batches:
                writing.add(batch)
            book.close()
        finally:
            for page in book.worksheets():
                page.row_data_fh.close()
        return {"sheets": writing.sheets, "cut_texts": writing.cut}


class _Writing:
    def __init__(self, sheet: Sheet, book: Any) -> None:
        self._sheet = sheet
        self._book = book
        self._bold = book.add_format({"bold": True})
        self._formats = {
            Kind.INSTANT: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            Kind.DATE: book.add_format({"num_format": "yyyy-mm-dd"}),
            Kind.TIME: book.add_format({"num_format": "hh:mm:ss"}),
        }
        self.sheets = 0
        self.cut = 0
        self._row = 0
        self._begin()

    def add(self, batch: Batch) -> None:
        """Add rows, in a new sheet when this one is full."""
        for values in batch:
            if self._row >= MAX_ROWS:
                self._begin()
            row, self._row = self._row, self._row + 1
            for place, value in enumerate(values):
                if value is not None:
                    self._writers[place](row, place, value)

    def _begin(self) -> None:
        self.sheets += 1
        name = "".join(" " if letter in "[]:*?/\\'" else letter for letter in self._sheet.name)[:25].strip() or "Export"
        self._page = self._book.add_worksheet(name if self.sheets == 1 else f"{name} {self.sheets}")
        self._page.freeze_panes(1, 0)
        for place, column in enumerate(self._sheet.columns):
            self._page.write_string(0, place, column.title[:MAX_LETTERS], self._bold)
        self._writers = [self._writer(field) for field in self._sheet.fields]
        self._row = 1

    def _writer(self, field: Field) -> Write:
        page = self._page
        if field.kind in (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL):
            return self._write_number
        if field.kind is Kind.BOOLEAN:
            return page.write_boolean  # type: ignore[no-any-return]
        if field.kind in self._formats:
            form = self._formats[field.kind]
            return lambda row, place, value: self._write_when(row, place, value, form)
        if field.kind is Kind.TEXT:
            return self._write_text
        show = (lambda value: json.dumps(value, ensure_ascii=False)) if field.kind is Kind.JSON else field.show
        return lambda row, place, value: self._write_text(row, place, show(value))

    def _write_text(self, row: int, place: int, text: str) -> None:
        if len(text) > MAX_LETTERS:
            self.cut += 1
            text = text[:MAX_LETTERS]
        self._page.write_string(row, place, text)

    def _write_number(self, row: int, place: int, value: Any) -> None:
        if isinstance(value, Decimal):
            fits = value.is_finite() and len(value.as_tuple().digits) <= EXACT_DIGITS
        elif isinstance(value, int):
            fits = abs(value) < 10**EXACT_DIGITS
        else:
            fits = value - value == 0.0  # neither infinite nor no number
        if fits:
            self._page.write_number(row, place, value)
        else:
            self._page.write_string(row, place, format(value, "f") if isinstance(value, Decimal) else str(value))

    def _write_when(self, row: int, place: int, value: Any, form: Any) -> None:
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None)  # a workbook knows no time zones
        if not isinstance(value, time) and value.year < FIRST_YEAR:
            self._page.write_string(row, place, value.isoformat() if isinstance(value, date) else str(value))
        else:
            self._page.write_datetime(row, place, value, form)
