"""CSV: rows of a text file, read by Python's own reader, strictly."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import BinaryIO

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.batch import MAX_CELL_LETTERS, Batch, aligned, take
from builtin_plugins.exchange.source.encoding import Encoding
from builtin_plugins.exchange.source.lines import lines_of

SEPARATORS = ",;\t|"
LOOKED_AT = 50
"""So many rows tell what separates the cells."""
SKIPPED_AT_ONCE = 10_000
NAMES: Mapping[str, str] = {"\t": "tab"}


class CsvSource:
    """Implements ``Source`` over a file whose encoding is known; ``separator`` None finds it out."""

    def __init__(self, file: BinaryIO, encoding: Encoding, separator: str | None = None, header_row: int = 1) -> None:
        csv.field_size_limit(MAX_CELL_LETTERS)
        self._file = file
        self._encoding = encoding
        self._separator = separator or find_separator(self._lines(), header_row)
        self.facts = {"format": "csv", **encoding.facts, "separator": self._separator}
        self.header, titles = self._first(header_row)
        if titles is None:
            raise FileRefusedError("the file is empty", hint="its first row has the titles of the columns")
        self.titles: Sequence[str] = titles
        self.total = None if encoding.lines is None else max(0, encoding.lines - self.header)

    def batches(self, size: int, after: int) -> Iterator[Batch]:
        """Yield the rows after the header and after row ``after``."""
        number = max(after, self.header)
        rows = self._reader()
        skipped = 0
        while skipped < number and (some := self._take(rows, min(SKIPPED_AT_ONCE, number - skipped), skipped)):
            skipped += len(some)
        while batch := self._take(rows, size, number):
            yield aligned(range(number + 1, number + len(batch) + 1), batch, len(self.titles), number + len(batch))
            number += len(batch)

    def _lines(self) -> Iterator[str]:
        return lines_of(self._file, self._encoding)

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._lines(), delimiter=self._separator, strict=True)

    def _first(self, start: int) -> tuple[int, list[str] | None]:
        """Return the first row from the number ``start`` that is not blank, and its number."""
        rows = self._reader()
        number = 0
        while some := self._take(rows, 1, number):
            number += 1
            if some[0] and number >= start:
                return number, some[0]
        return 0, None

    def _take(self, rows: Iterator[list[str]], count: int, done: int) -> list[list[str]]:
        """Return the next rows; what Python's reader refuses is told by the number of the row, and in plain words."""
        taken: list[list[str]] = []
        try:
            return take(rows, count, self._file.tell, taken)
        except csv.Error as error:
            number = done + len(taken) + 1
            raise FileRefusedError(f"row {number} is no CSV: {_words(str(error))}", code="exchange.csv") from error


def find_separator(lines: Iterator[str], header_row: int = 1) -> str:
    """Return what separates the cells: of comma, semicolon, tab and bar the one by which most rows are alike.

    Raises ``FileRefusedError`` when two of them do equally well.
    """
    some = list(islice(lines, header_row - 1, header_row - 1 + LOOKED_AT))
    scores = {separator: _score(some, separator) for separator in SEPARATORS}
    best = max(scores.values())
    if best <= (0.0, 1):
        return ","
    found = [separator for separator, score in scores.items() if score == best]
    if len(found) > 1:
        raise FileRefusedError(
            f"cannot tell whether {' or '.join(NAMES.get(one, one) for one in found)} separates the cells",
            code="exchange.separator",
            hint="give the separator",
        )
    return found[0]


def _score(lines: Sequence[str], separator: str) -> tuple[float, int]:
    """Return how many rows are as wide as the first one, as a share, and how wide that is."""
    widths: list[int] = []
    with suppress(csv.Error):  # as far as it goes
        widths.extend(len(row) for row in csv.reader(lines, delimiter=separator) if row)
    if not widths or widths[0] < 2:
        return 0.0, 1
    return round(Counter(widths)[widths[0]] / len(widths), 2), widths[0]


def _words(said: str) -> str:
    if "unexpected end of data" in said:
        return "a quote is opened and never closed"
    if "field larger than field limit" in said:
        return f"a cell has more than {MAX_CELL_LETTERS} letters; is a quote never closed?"
    if "expected after" in said:
        return "something follows a closing quote; quotes inside a cell are doubled"
    return said
