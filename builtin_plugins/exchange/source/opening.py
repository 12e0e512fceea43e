"""Opens an upload as rows, whatever it is: what it holds decides, not what it is called."""

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.archive import LOCAL_HEADER, SAVE, refuse_ole
from builtin_plugins.exchange.source.batch import MAX_COLUMNS, Source
from builtin_plugins.exchange.source.csv_rows import CsvSource
from builtin_plugins.exchange.source.encoding import MARKS, Encoding, survey
from builtin_plugins.exchange.source.json_rows import JsonSource
from builtin_plugins.exchange.source.layout import Layout
from builtin_plugins.exchange.source.xlsx_rows import XlsxSource

SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "packed with gzip"),
    (b"BZh", "packed with bzip2"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "a SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"{\\rtf", "a text document"),
)
MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<table", b"<script")


def open_source(file: BinaryIO, layout: Layout, facts: Mapping[str, Any] | None = None) -> Source:
    """Return the rows of ``file``; ``facts`` are what an earlier attempt found out, which is then not done again.

    Raises ``FileRefusedError`` for what is not of the format, or damaged.
    """
    form = (facts or {}).get("format") or _format(file, layout)
    source: Source
    if form == "xlsx":
        source = XlsxSource(file, layout.sheet, layout.header_row)
    else:
        encoding = _encoding(file, layout, facts, universal=form == "csv")
        if form == "csv":
            separator = (facts or {}).get("separator") or layout.separator
            source = CsvSource(file, encoding, separator, layout.header_row)
        else:
            source = JsonSource(file, encoding)
    if len(source.titles) > MAX_COLUMNS:
        raise FileRefusedError(f"the file has {len(source.titles)} columns, at most {MAX_COLUMNS}")
    return source


def _encoding(file: BinaryIO, layout: Layout, facts: Mapping[str, Any] | None, *, universal: bool) -> Encoding:
    if facts:
        return Encoding(facts["encoding"], facts["skip"], facts["lines"])
    return survey(file, layout.encoding, universal=universal)


def _format(file: BinaryIO, layout: Layout) -> str:
    """Return the format by what the file holds; raises ``FileRefusedError`` when that is another than was said."""
    file.seek(0)
    head = file.read(4096)
    if not head.strip(b"\0 \t\r\n"):
        file.seek(0)
        if not head or len(head) < 4096:
            raise FileRefusedError("the file is empty", hint="its first row has the titles of the columns")
    if head.startswith((LOCAL_HEADER, b"PK\x05\x06")):
        if layout.format not in (None, "xlsx"):
            raise FileRefusedError(
                f"the file is no {layout.format}: it is a workbook or another archive",
                code="exchange.format",
                hint="leave the format out, or give xlsx",
            )
        return "xlsx"
    refuse_ole(file)
    what = next((what for sign, what in SIGNS if head.startswith(sign) and not _is_text(sign, head)), "")
    if not what and head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(MARKUP):
        what = "a web page or XML"
    if what:
        raise FileRefusedError(f"the file is {what}", code="exchange.format", hint=SAVE)
    if layout.format == "xlsx":
        raise FileRefusedError("the file is no .xlsx workbook", code="exchange.format", hint=SAVE)
    return layout.format or ("jsonl" if _is_json(head) else "csv")


def _is_text(sign: bytes, head: bytes) -> bool:
    """Tell whether a sign of letters only begins a text, such as a column named MZ."""
    return sign.isalpha() and sign.isascii() and b"\0" not in head


def _is_json(head: bytes) -> bool:
    mark = next((mark for mark, _ in MARKS if head.startswith(mark)), b"")
    line = head.removeprefix(mark).replace(b"\0", b"").lstrip().split(b"\n", 1)[0]
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return line.startswith(b'{"')
