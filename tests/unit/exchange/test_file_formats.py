"""Readers of CSV, XLSX and JSON Lines: rows with the numbers that people see, or a clear refusal."""

import csv
import io
import random
import re
import zipfile

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.batch import BATCH_BYTES, MAX_ROW_LETTERS
from builtin_plugins.exchange.source.encoding import known_encoding, likely_encoding
from builtin_plugins.exchange.source.layout import Layout
from builtin_plugins.exchange.source.opening import open_source

PLAIN = Layout()
GERMAN = "Name;Größe\nMüller;1,5\n"


def read(content: bytes, layout: Layout = PLAIN, size: int = 2, after: int = 0):
    """Return titles, (number, row) pairs and misfits."""
    source = open_source(io.BytesIO(content), layout)
    rows, misfits = [], []
    for batch in source.batches(size, after):
        rows += zip(batch.numbers, batch.rows, strict=True)
        misfits += batch.misfits
    return list(source.titles), [(number, list(row)) for number, row in rows], misfits


def refused(content: bytes, layout: Layout = PLAIN) -> FileRefusedError:
    with pytest.raises(FileRefusedError) as raised:
        read(content, layout)
    assert raised.value.code.startswith("exchange.")
    return raised.value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_mark_decides_the_encoding_and_utf_8_needs_none(encoding):
    content = (f"\ufeff{GERMAN}" if encoding == "utf-16-be" else GERMAN).encode(encoding)
    assert read(content)[:2] == (["Name", "Größe"], [(2, ["Müller", "1,5"])])


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16-le", "iso-8859-15", "cp850", "CP1252"])
def test_what_has_no_mark_is_read_as_its_owner_says(encoding):
    content = GERMAN.encode(encoding)
    assert read(content, Layout(encoding=known_encoding(encoding)))[1] == [(2, ["Müller", "1,5"])]


def test_a_byte_that_does_not_fit_is_named_by_offset_and_line_before_any_row_is_read():
    content = b"a,b\n" + b"1,2\n" * 400_000 + "Müller,3\n".encode("windows-1252")
    error = refused(content)
    assert error.code == "exchange.encoding"
    assert "0xfc at offset 1600005, in line 400002" in str(error)
    assert "encoding=windows-1252" in error.hint
    assert "ends in mid-letter" in str(refused("a\nÄ".encode()[:-1]))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Straße und Käse, Größe und Übermut für alle", "windows-1252"),
        ("naïve café, déjà vu, où", "windows-1252"),
        ("日本語のテキストです。東京都千代田区", "shift_jis"),
        ("Привет, как дела? Это русский текст", "windows-1251"),
        ("plain text in sixteen bits", "utf-16-le"),
        ("plain text in sixteen bits", "utf-16-be"),
        ("nothing but ASCII", ""),
    ],
)
def test_what_the_encoding_probably_is_is_said(text, encoding):
    assert likely_encoding(text.encode(encoding or "ascii")) == encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["id,name\n1,Ann\n", '{"id": 1, "name": "Ann"}\n', 'имя;город\n"Иван";Москва\n'])
@pytest.mark.parametrize("said", [None, "utf-8", "windows-1252", "utf-16-le", "utf-16-be"])
def test_text_of_sixteen_bits_without_a_mark_is_refused_with_the_encoding_to_give(text, encoding, said):
    content = text.encode(encoding)
    if said == encoding:
        assert len(read(content, Layout(encoding=said))[1]) == 1
        return
    error = refused(content, Layout(encoding=said))
    assert error.code == "exchange.encoding"
    assert f"is not {said or 'utf-8'}" in str(error)
    assert f"give encoding={encoding}" in error.hint
    assert len(read(content, Layout(encoding=known_encoding(encoding)))[1]) == 1


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("rows", [1, 2000])
def test_a_letter_far_down_does_not_turn_the_order_of_the_bytes(encoding, rows):
    content = ("a,b\n" + "1,2\n" * rows + "Müller,3\n").encode(encoding)
    assert f"encoding={encoding}" in refused(content).hint


def test_text_of_thirty_two_bits_without_a_mark_is_told_from_that_of_sixteen():
    content = GERMAN.encode("utf-32-le")
    assert "give encoding=utf-32," in refused(content).hint
    assert read(content, Layout(encoding="utf-32"))[1] == [(2, ["Müller", "1,5"])]


def test_text_of_sixteen_bits_that_ends_in_mid_letter_is_not_told_to_be_what_it_was_said_to_be():
    error = refused("a,b\n1,2\n".encode("utf-16-le")[:-1], Layout(encoding="utf-16-le"))
    assert "ends in mid-letter" in str(error)
    assert "utf-16" not in error.hint


def test_a_zero_byte_in_a_cell_does_not_make_text_of_sixteen_bits():
    assert read(b"a,b\n1,\0x\n")[1] == [(2, ["1", "\0x"])]


def test_an_encoding_nobody_knows_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="known: utf-8, utf-16"):
        known_encoding("rot13")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_what_separates_the_cells_is_found_out(separator):
    rows = [["id", "note, long"], ["1", "a;b"], ["2", 'say "x|y"'], ["3", "two\nlines"]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    assert read(text.getvalue().encode())[1] == [(2, rows[1]), (3, rows[2]), (4, rows[3])]


def test_a_separator_that_cannot_be_told_is_asked_for():
    content = b"a;b,c\n1;2,3\n"
    assert refused(content).code == "exchange.separator"
    assert read(content, Layout(separator=","))[1] == [(2, ["1;2", "3"])]
    assert read(b"one\n1\n2\n")[1] == [(2, ["1"]), (3, ["2"])]


def test_rows_are_counted_as_a_spreadsheet_does():
    content = b'a,b\r\n"x\r\ny",1\r\n\r\n\r\n2,3\r4,5\n'
    assert read(content)[1] == [(2, ["x\r\ny", "1"]), (5, ["2", "3"]), (6, ["4", "5"])]
    assert read(content, after=2)[1] == [(5, ["2", "3"]), (6, ["4", "5"])]
    assert read(content, after=99)[1] == []
    assert read(b"report of May\n\na,b\n1,2\n", Layout(header_row=2))[:2] == (["a", "b"], [(4, ["1", "2"])])


def test_a_row_of_another_length_is_left_out_with_its_number():
    _, rows, misfits = read(b"a,b\n1\n1,2\n1,2,3\n")
    assert rows == [(3, ["1", "2"])]
    assert [(one.row, one.reason) for one in misfits] == [
        (2, "has 1 cell, the header has 2"),
        (4, "has 3 cells, the header has 2"),
    ]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "exchange.file", "the file is empty"),
        (b"\xef\xbb\xbf", "exchange.file", "the file is empty"),
        (b"\n \r\n\n", "exchange.file", "the file is empty"),
        (b'a,b\n1,"2\n3,4\n', "exchange.csv", "row 2 is no CSV: a quote is opened and never closed"),
        (b'a,b\n"1"x,2\n', "exchange.csv", "row 2 is no CSV: something follows a closing quote"),
        (b'a\n"' + b"x" * 1_100_000 + b'"\n', "exchange.csv", "row 2 is no CSV: a cell has more than 1048576 letters"),
        (b"a" * (MAX_ROW_LETTERS + 9), "exchange.file", "line 1 has more than"),
        (b",".join(b"c%d" % n for n in range(10_000)) + b"\n", "exchange.file", "has 10000 columns, at most 1000"),
        (b"%PDF-1.7\n\0", "exchange.format", "a PDF document"),
        (b"MZ\x90\0", "exchange.format", "a program"),
        (b"\x1f\x8b\x08", "exchange.format", "packed with gzip"),
        (b"<!DOCTYPE html><table>", "exchange.format", "a web page or XML"),
        (b'<?xml version="1.0"?><a/>', "exchange.format", "a web page or XML"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "exchange.format", "an old Office file, such as .xls"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le"),
            "exchange.format",
            "protected by a password",
        ),
        (b"PK\x03\x04" + bytes(50), "exchange.workbook", "the workbook is damaged"),
    ],
)
def test_what_is_no_table_is_refused_in_plain_words(content, code, said):
    error = refused(content)
    assert (error.code, said in str(error)) == (code, True), str(error)


def test_text_that_only_begins_like_something_else_is_text():
    assert read(b"MZ,BZh\n1,2\n")[1] == [(2, ["1", "2"])]


def test_what_is_said_and_what_is_there_must_agree():
    assert "no .xlsx workbook" in str(refused(b"a\n1\n", Layout(format="xlsx")))
    assert "it is a workbook" in str(refused(workbook([["a"]]), Layout(format="csv")))


def wide_file(form: str, cells: list[str]) -> bytes:
    if form == "csv":
        return ("text\n" + "".join(f"{cell}\n" for cell in cells)).encode()
    if form == "jsonl":
        return "".join(f'{{"text": "{cell}"}}\n' for cell in cells).encode()
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        book.add_worksheet().write_column(0, 0, ["text", *cells])
    return file.getvalue()


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx"])
def test_batches_of_wide_rows_are_cut_by_their_text(form):
    letters = 32_000
    cells = [random.Random(number).randbytes(letters // 2).hex() for number in range(1200)]
    source = open_source(io.BytesIO(wide_file(form, cells)), PLAIN)
    batches = [(batch.last, [row[0] for row in batch.rows]) for batch in source.batches(10_000, 0)]
    assert [cell for _, rows in batches for cell in rows] == cells
    assert all(len(rows) * letters < BATCH_BYTES * 1.1 for _, rows in batches)
    assert len(batches) == 3, "no smaller than they must be"
    (rest,) = source.batches(10_000, batches[1][0])
    assert [row[0] for row in rest.rows] == batches[2][1]


def test_json_lines_are_objects_of_the_names_of_the_first_lines():
    content = (
        b'{"a": 1, "b": null}\r\n\r\n{"b": [true]}\n{"a": 1, "a": 2}\n[1]\n{"a": NaN}\n{"a"\n' + b"[" * 9999 + b"\n"
    )
    titles, rows, misfits = read(content)
    assert (titles, rows) == (["a", "b"], [(1, [1, None]), (3, [None, [True]])])
    assert [(one.row, one.reason.split(":")[0]) for one in misfits] == [
        (4, "is no JSON"),
        (5, "is no JSON object"),
        (6, "is no JSON"),
        (7, "is no JSON"),
        (8, "is nested too deeply"),
    ]
    late = b'{"a": 1}\n' * 1000 + b'{"z": 1}\n'
    assert [(one.row, one.field) for one in read(late, size=600)[2]] == [(1001, "z")]
    assert "none of the first" in str(refused(b"nothing\n", Layout(format="jsonl")))


def workbook(rows, *, sheet="Orders", **formats):
    """Return a workbook of one sheet."""
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    page = book.add_worksheet(sheet)
    for number, row in enumerate(rows):
        for place, value in enumerate(row):
            if value is not None:
                page.write(number, place, value)
    book.close()
    return buffer.getvalue()


def repacked(content: bytes, *, drop=(), add=(), kind=zipfile.ZIP_DEFLATED) -> bytes:
    """Return a workbook with entries left out and put in."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", kind) as new:
        for entry in old.infolist():
            if entry.filename not in drop:
                new.writestr(entry.filename, old.read(entry))
        for name, data in add:
            new.writestr(name, data)
    return buffer.getvalue()


def test_a_sheet_is_read_with_the_row_numbers_of_excel():
    content = workbook([[], ["id", "net"], [1, 2.5], [], ["x", True], [None, 3]])
    titles, rows, _ = read(content)
    assert (titles, rows) == (["id", "net"], [(3, [1.0, 2.5]), (5, ["x", True]), (6, ["", 3.0])])
    assert read(content, after=5)[1] == [(6, ["", 3.0])]
    assert read(content, Layout(header_row=3))[0] == ["1", "2.5"]


def test_a_cell_with_an_error_of_excel_is_a_misfit_not_an_empty_cell():
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    book.add_worksheet("first").write_formula(1, 0, "=1/0", None, "#DIV/0!")
    page = book.add_worksheet("second")
    page.write_row(0, 1, ["id", "net"])
    page.write_row(1, 1, [1, 2])
    page.write_formula(2, 2, "=1/0", None, "#DIV/0!")
    page.write_row(3, 1, [3, 4])
    book.close()
    _, rows, misfits = read(buffer.getvalue(), Layout(sheet="second"))
    assert [number for number, _ in rows] == [2, 4]
    assert [(one.row, one.field) for one in misfits] == [(3, "net")]


def edited(content: bytes, edit) -> bytes:
    """Return a workbook whose first sheet's markup is what ``edit`` makes of it."""
    name = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        markup = archive.read(name)
    return repacked(content, drop={name}, add=[(name, edit(markup))])


@pytest.mark.parametrize("edit", [lambda markup: markup, lambda markup: markup.replace(b't="e"', b"t='e'")])
def test_no_error_of_excel_is_lost_however_many_there_are(edit):
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    page = book.add_worksheet()
    page.write_row(0, 0, ["id", "net", "gross"])
    for number in range(1, 6001):
        page.write_number(number, 0, number)
        page.write_formula(number, 1, "=1/0", None, "#DIV/0!")
        page.write_formula(number, 2, "=1/0", None, "#DIV/0!")
    book.close()
    _, rows, misfits = read(edited(buffer.getvalue(), edit), size=10_000)
    assert (rows, len(misfits)) == ([], 6000)


def test_errors_that_say_not_where_they_are_refuse_the_workbook():
    content = workbook([["id"], [1]])
    wrong = edited(content, lambda markup: re.sub(rb'<c r="A2"><v>1</v>', b'<c t="e"><v>#N/A</v>', markup))
    assert "does not say where" in str(refused(wrong))


def test_a_formula_whose_value_was_never_stored_is_a_misfit_not_an_empty_cell():
    book = openpyxl.Workbook()
    page = book.active
    for row in (["id", "net", "Text"], [1, "=1+1", "a"], [2, 5, "b"], [3, 5, '=""']):
        page.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    content = edited(buffer.getvalue(), lambda markup: markup.replace(b'<c r="C4">', b'<c r="C4" t="str">'))
    _, rows, misfits = read(content)
    assert rows == [(3, [2.0, 5.0, "b"]), (4, [3.0, 5.0, ""])]
    assert [(one.row, one.field) for one in misfits] == [(2, "net")]
    assert "open it in Excel" in misfits[0].reason


def test_the_first_sheet_is_the_first_that_people_see_and_that_has_cells():
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    hidden = book.add_worksheet("lists")
    hidden.write_row(0, 0, ["no", "table"])
    hidden.hide()
    chart = book.add_chart({"type": "line"})
    chart.add_series({"values": "=orders!$A$1:$A$2"})
    book.add_chartsheet("chart").set_chart(chart)
    page = book.add_worksheet("orders")
    page.write_row(0, 0, ["id"])
    page.activate()
    book.close()
    assert read(buffer.getvalue())[0] == ["id"]
    assert read(buffer.getvalue(), Layout(sheet="lists"))[0] == ["no", "table"]


def test_a_sheet_is_chosen_by_name():
    content = workbook([["a"], [1]], sheet="März")
    assert read(content, Layout(sheet="März"))[1] == [(2, [1.0])]
    assert "it has: März" in refused(content, Layout(sheet="May")).hint
    assert refused(content, Layout(sheet="May")).code == "exchange.sheet"
    assert "is empty" in str(refused(workbook([])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"add": [("xl/vbaProject.bin", b"x")]}, "a workbook with macros"),
        ({"add": [("xl/workbook.bin", b"x")]}, "a binary workbook, .xlsb"),
        ({"drop": ["xl/workbook.xml"]}, "a ZIP archive, but no workbook"),
        ({"add": [("xl/externalLinks/externalLink1.xml", b"<x/>")]}, "takes values from other workbooks"),
        ({"add": [("xl/inner.zip", b"PK\x03\x04rest")]}, "holds an archive in the archive"),
        ({"add": [(f"x{number}", b"") for number in range(1001)]}, "entries, at most 1000"),
        ({"add": [("xl/x.xml", b'<!DOCTYPE l [<!ENTITY a "b">]><x>&a;</x>')]}, "declares entities"),
        ({"add": [("xl/x.xml", "<x/>".encode("utf-16"))]}, "is not in UTF-8"),
        ({"add": [("xl/x.xml", b" " * 90_000_000)]}, "is packed more than 200 to 1"),
        ({"drop": ["xl/worksheets/sheet1.xml"]}, "is damaged"),
    ],
)
def test_a_workbook_that_is_none_or_a_bomb_is_refused_before_it_is_parsed(change, said):
    assert said in str(refused(repacked(workbook([["a"], [1]]), **change)))


def test_sizes_that_lie_are_found_by_unpacking():
    content = repacked(workbook([["a"], [1]]), add=[("xl/media/x.bin", bytes(3_000_000))])
    place = content.rindex(b"PK\x01\x02")
    lying = content[: place + 24] + (10).to_bytes(4, "little") + content[place + 28 :]
    assert "packed more than 200 to 1" in str(refused(lying)) or "lies about the size" in str(refused(lying))
    honest = repacked(
        workbook([["a"], [1]]), add=[("xl/media/x.bin", bytes(range(256)) * 4000)], kind=zipfile.ZIP_STORED
    )
    place = honest.rindex(b"PK\x01\x02")
    lying = honest[: place + 24] + (10).to_bytes(4, "little") + honest[place + 28 :]
    assert "lies about the size" in str(refused(lying))


def test_an_encrypted_entry_is_refused():
    content = bytearray(workbook([["a"], [1]]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "is encrypted" in str(refused(bytes(content)))


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=8))
def test_what_pythons_writer_writes_comes_back(rows):
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *rows])
    content = text.getvalue().encode()
    expected = list(csv.reader(io.StringIO(text.getvalue(), newline="")))[1:]
    found = read(content, Layout(format="csv", separator=","))
    assert found[1] == list(enumerate(expected, start=2))
