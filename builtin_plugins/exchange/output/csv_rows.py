"""CSV, written row by row: for databases that cannot write it themselves."""

import codecs
import csv
from collections.abc import Iterable
from typing import Any, BinaryIO

from builtin_plugins.exchange.guard import guarded
from builtin_plugins.exchange.output.cells import text_of, texts_of
from builtin_plugins.exchange.output.failure import ExportFailedError
from builtin_plugins.exchange.output.sheet import Batch, Sheet


def write_csv(sheet: Sheet, file: BinaryIO, batches: Iterable[Batch]) -> dict[str, Any]:
    """Write a CSV; nothing stands for no value, lines end in LF."""
    params = sheet.params
    texts = [text_of(field, guard=params.guard) for field in sheet.fields]
    encode = encoder(params.encoding)
    file.write(head_of(sheet))
    for batch in batches:
        lines = _Lines()
        writer = csv.writer(lines, delimiter=params.separator)
        columns = [texts_of(list(values), text) for values, text in zip(zip(*batch, strict=True), texts, strict=True)]
        writer.writerows(zip(*columns, strict=True))
        file.write(encode("".join(lines.parts)))
    return {}


def head_of(sheet: Sheet) -> bytes:
    """Return what a CSV begins with: the mark, if it is to have one, and the titles."""
    params = sheet.params
    lines = _Lines()
    titles = [guarded(column.title) if params.guard else column.title for column in sheet.columns]
    csv.writer(lines, delimiter=params.separator).writerow(titles)
    mark = codecs.BOM_UTF8 if params.bom else b""
    return mark + encoder(params.encoding, is_first=True)("".join(lines.parts))


class _Lines:
    """Takes lines that end in CR LF, since only then the library quotes a lone CR, and ends them in LF."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, line: str) -> None:
        self.parts.append(line[:-2] + "\n")


class encoder:  # noqa: N801 - called like the function that it is
    """Encodes texts one after the other; an encoding with a mark of its own writes it before the first."""

    def __init__(self, encoding: str, *, is_first: bool = False) -> None:
        self._encoding = encoding
        self._encoder = codecs.getincrementalencoder(encoding)("strict")
        if not is_first:
            self._encoder.encode("\n")  # the mark has been written

    def __call__(self, text: str) -> bytes:
        """Return the bytes of ``text``; raises ``ExportFailedError`` for a character that the encoding lacks."""
        try:
            return self._encoder.encode(text)
        except UnicodeEncodeError as error:
            raise ExportFailedError(
                f"{text[error.start]!r} cannot be written in {self._encoding}", hint="export in utf-8"
            ) from error
