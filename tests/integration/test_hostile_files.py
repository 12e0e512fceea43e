"""Damaged and hostile files: each is refused in plain words, or read as exactly the rows that others read.

Python's ``csv`` and ``openpyxl`` say what is right. The default run takes some hundred files; ``-m soak`` a thousand of
each kind.
"""

import csv
import io
import random
from datetime import date, datetime, time

import openpyxl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.layout import Layout
from builtin_plugins.exchange.source.opening import open_source

FEW, MANY = 150, 1000
CELLS = ["", "1", "-2.50", "a,b", 'say "x"', "two\nlines", "ü", "=1+1", "\t", "NULL", "a;b", "x" * 300, "\\N", "日本"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "windows-1252", "shift_jis"]


def read(content: bytes, layout: Layout | None = None):
    """Return what was found out of a file, its titles, its rows by number, and the numbers left out."""
    source = open_source(io.BytesIO(content), layout or Layout())
    rows, left_out = {}, set()
    for batch in source.batches(7, 0):
        rows.update(zip(batch.numbers, map(list, batch.rows), strict=True))
        left_out |= {misfit.row for misfit in batch.misfits}
    return source.facts, list(source.titles), rows, left_out


def judge_text(content: bytes) -> str:
    """Hold what is read of a text against Python's own reader; return how it ended."""
    try:
        facts, titles, rows, left_out = read(content)
    except FileRefusedError:
        return "refused"
    if facts["format"] != "csv":
        return str(facts["format"])
    text = content[facts["skip"] :].decode(facts["encoding"])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=facts["separator"], strict=True)
    numbered = {number: row for number, row in enumerate(reader, start=1) if row}
    header = min(numbered)
    assert numbered.pop(header) == titles
    assert rows == {number: row for number, row in numbered.items() if len(row) == len(titles)}
    assert left_out == {number for number, row in numbered.items() if len(row) != len(titles)}
    return "read"


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return the file with a few things done to it that happen to files, or are done to them."""
    raw = bytearray(content)
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(raw) + 1)
        what = chance.randrange(6)
        if what == 0:
            del raw[at:]
        elif what == 1 and at < len(raw):
            raw[at] ^= 1 << chance.randrange(8)
        elif what == 2:
            raw[at:at] = chance.choice(
                [b'"', b"\0", b"\r", b"\n\n", b",", b";", b"\xff", b"\xef\xbb\xbf", b"PK\x03\x04"]
            )
        elif what == 3:
            raw[at:at] = chance.randbytes(chance.randint(1, 40))
        elif what == 4:
            del raw[at : at + chance.randint(1, 30)]
        else:
            raw[at:at] = raw[: chance.randint(0, 60)]
    return bytes(raw)


def text_file(chance: random.Random) -> bytes:
    width = chance.randint(1, 5)
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=chance.choice(",;\t|"),
        lineterminator=chance.choice(["\n", "\r\n", "\r"]),
        quoting=chance.choice([0, 1]),
    )
    writer.writerow([f"c{number}" for number in range(width)])
    for _ in range(chance.randint(0, 12)):
        writer.writerow(chance.choices(CELLS, k=width if chance.random() < 0.9 else chance.randint(0, 7)))
    return text.getvalue().encode(chance.choice(ENCODINGS), "replace")


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
def test_damaged_texts_are_refused_or_read_as_python_reads_them(count):
    ends = [judge_text(damaged(text_file(chance), chance)) for chance in map(random.Random, range(count))]
    assert ends.count("read") > count / 10, "the files are damaged beyond any use"
    assert ends.count("refused") > count / 10


@settings(max_examples=FEW, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='",;\n\r\t|a1é\0{}[]:', max_size=60).map(str.encode))
def test_any_bytes_are_refused_or_read_as_python_reads_them(content):
    judge_text(content)


VALUES = [1, 2.5, "a", "ü", True, datetime(2024, 2, 29, 12, 30), date(2026, 1, 31), time(8, 30), "=1+1", " x ", 0, -1e9]  # noqa: DTZ001


def workbook(chance: random.Random) -> bytes:
    buffer = io.BytesIO()
    kind = {"in_memory": True, "strings_to_formulas": False, "default_date_format": "yyyy-mm-dd hh:mm"}
    book = xlsxwriter.Workbook(buffer, kind)
    page = book.add_worksheet()
    width = chance.randint(1, 5)
    page.write_row(0, 0, [f"c{number}" for number in range(width)])
    for number in range(1, chance.randint(1, 15)):
        for place in range(width):
            if chance.random() < 0.9:
                page.write(number, place, chance.choice(VALUES))
    book.close()
    return buffer.getvalue()


def cell(value):
    """Return a cell so that the readers can be compared: numbers as floats, midnight as a date, no value as None."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, datetime):
        return value.date() if value.time() == time() else value
    return value


def judge_workbook(content: bytes) -> str:
    try:
        _, titles, rows, _ = read(content)
    except FileRefusedError:
        return "refused"
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
        seen = {number: [*row] for number, row in enumerate(book.worksheets[0].iter_rows(values_only=True), start=1)}
    except Exception:  # whatever openpyxl thinks of it
        return "unjudged"
    width = len(titles)
    wanted = {number: list(map(cell, (row + [None] * width)[:width])) for number, row in seen.items()}
    found = {number: list(map(cell, row)) for number, row in rows.items()}
    assert found == {
        number: row for number, row in wanted.items() if number > 1 and any(one is not None for one in row)
    }
    return "read"


@pytest.mark.parametrize("count", [FEW // 2, pytest.param(MANY, marks=pytest.mark.soak)])
def test_damaged_workbooks_are_refused_or_read_as_openpyxl_reads_them(count):
    ends = []
    for chance in map(random.Random, range(count)):
        content = workbook(chance)
        ends.append(judge_workbook(content if chance.random() < 0.2 else damaged(content, chance)))
    assert ends.count("read") > count / 20
    assert ends.count("refused") > count / 10
