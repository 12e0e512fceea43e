"""XLSX: one sheet of a workbook that has been checked, parsed by calamine. Values are what the cells hold."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO, TypeVar

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.archive import MAX_BROKEN_CELLS, BrokenCells, check_workbook
from builtin_plugins.exchange.source.batch import Batch, Misfit, take

T = TypeVar("T")
RELATIONS = (
    "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id",
    "{http://purl.oclc.org/ooxml/officeDocument/relationships}id",
)
"""The second one is that of workbooks in the strict form of the standard."""


class XlsxSource:
    """Implements ``Source``; rows are counted as Excel does. Rows without any value are no rows."""

    def __init__(self, file: BinaryIO, sheet: str | None = None, header_row: int | None = None) -> None:
        broken = check_workbook(file)
        file.seek(0)
        self._book = _open(file)
        names = _names(self._book)
        if sheet is not None and sheet not in names:
            raise FileRefusedError(
                f"the workbook has no sheet {sheet[:60]!r}",
                code="exchange.sheet",
                hint=f"it has: {', '.join(name[:60] for name in names[:20])}",
            )
        if not names:
            raise FileRefusedError("the workbook has no sheet", code="exchange.sheet")
        self._sheet = _parsed(lambda: self._book.get_sheet_by_name(names[0] if sheet is None else sheet))
        self.facts: Mapping[str, Any] = {"format": "xlsx", "sheet": self._sheet.name}
        start = self._sheet.start
        self._letters = 0
        """Of the rows that were read so far."""
        self._first_column = 0 if start is None else start[1]
        self._broken = _by_row(broken, file, self._sheet.name) if broken else {}
        self.header, titles = next(self._filled(header_row or 1, 0), (0, None))
        if titles is None:
            raise FileRefusedError(
                f"the sheet {self._sheet.name[:60]!r} is empty", hint="its first row has the titles of the columns"
            )
        self.titles: Sequence[str] = [plain_text(value) for value in titles]
        self.total: int | None = max(0, self._sheet.total_height - self.header)

    def batches(self, size: int, after: int) -> Iterator[Batch]:
        """Yield the rows after the header and after row ``after``."""
        rows = self._filled(max(after, self.header) + 1, len(self.titles))
        while some := take(rows, size, lambda: self._letters, []):
            batch = Batch([], [], last=some[-1][0])
            numbers, kept = [], []
            for number, row in some:
                if number in self._broken:
                    letters, reason = self._broken[number]
                    batch.misfits.append(Misfit(number, self._title(letters), "", reason))
                    continue
                numbers.append(number)
                kept.append(row)
            batch.numbers, batch.rows = numbers, kept
            yield batch

    def _filled(self, start: int, width: int) -> Iterator[tuple[int, list[Any]]]:
        for number, row in enumerate(self._sheet.iter_rows(), start=1):
            if number >= start and (any(value != "" for value in row) or number in self._broken):
                self._letters += sum([len(value) for value in row if value.__class__ is str])
                yield number, row

    def _title(self, letters: str) -> str:
        place = -1
        for letter in letters:
            place = (place + 1) * 26 + ord(letter) - ord("A")
        place -= self._first_column
        return self.titles[place] if 0 <= place < len(self.titles) else letters


def plain_text(value: Any) -> str:
    """Return what a cell shows, without its format: whole numbers without a point, dates as ISO 8601 has them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(value)


def _names(book: Any) -> list[str]:
    """Return the names of the sheets that have cells, those first that people see."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    sheets = [one for one in book.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
    return [one.name for one in sorted(sheets, key=lambda one: one.visible != SheetVisibleEnum.Visible)]


def _open(file: BinaryIO) -> Any:
    from python_calamine import CalamineWorkbook  # a few MiB that only imports of workbooks need

    return _parsed(lambda: CalamineWorkbook.from_filelike(file))


def _parsed(call: Callable[[], T]) -> T:
    from python_calamine import CalamineError

    try:
        return call()
    except (CalamineError, ValueError, OSError) as error:
        raise FileRefusedError(
            f"the workbook is damaged: {re.sub(chr(10), ' ', str(error))[:200]}",
            code="exchange.workbook",
            hint="open it in Excel or LibreOffice, and save it again",
        ) from error


def _by_row(broken: BrokenCells, file: BinaryIO, sheet: str) -> Mapping[int, tuple[str, str]]:
    """Return the first column with a broken cell by row, of the sheet's own entry, and what is wrong there."""
    import zipfile
    from xml.etree import ElementTree

    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - checked before
        links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    sheets = [one for one in book.iter() if one.tag.endswith("}sheet") and one.get("name") == sheet]
    wanted = next((one.get(name) for one in sheets for name in RELATIONS if one.get(name)), "")
    target = next((str(one.get("Target")) for one in links.iter() if one.get("Id") == wanted), "")
    entry = target.removeprefix("/") if target.startswith("/xl") else f"xl/{target}"
    found = broken.get(entry, {})
    if len(found) >= MAX_BROKEN_CELLS or any(row == 0 for row, _ in found):
        raise FileRefusedError(
            f"the sheet {sheet[:60]!r} has too many cells with errors such as #N/A or formulas without their values, "
            "or does not say where they are",
            code="exchange.workbook",
            hint="open it in Excel or LibreOffice, mend it, and save it again",
        )
    in_order = sorted(found, key=lambda place: (place[0], len(place[1]), place[1]), reverse=True)
    return {place[0]: (place[1], found[place]) for place in in_order}
