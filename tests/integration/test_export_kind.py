"""The kind ``export``: every format holds every value, of one moment, and nothing that a spreadsheet would run."""

import csv
import io
import json
import tempfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest
from probes.export_desk import Desk
from probes.shelf import State, open_shelf

from builtin_plugins.async_task import TaskFailedError
from builtin_plugins.exchange.export_form import ExportParams, permissions_of
from builtin_plugins.exchange.output import xlsx_rows
from nocohost.api.errors import AttemptCancelledError, PayloadError

openpyxl = pytest.importorskip("openpyxl")
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"]
BOOK = {
    "id": 1,
    "title": 'Ümsätze; "the" €\nline',
    "isbn": "007",
    "maker": "acme",
    "pages": -9_007_199_254_740_993,
    "price": Decimal("-12.50"),
    "weight": 0.1,
    "is_new": True,
    "state": State.SOLD,
    "printed_on": date(2026, 2, 28),
    "opens_at": time(8, 30),
    "read_at": datetime(2026, 1, 31, 8, 0, 0, 250000, tzinfo=UTC),
    "local_at": datetime(2026, 1, 31, 8, 0, tzinfo=UTC),
    "mark": UUID("12345678-1234-4678-9234-567812345678"),
    "notes": {"a": [1, None, "ü"]},
    "cover": b"\x00\xff" * 50,
}


@pytest.fixture
async def resources(database):
    return await open_shelf(database)


@pytest.fixture
async def desk(database, resources, tmp_path):
    await resources.create("shelf.makers", {"code": "acme", "name": "=Acme"})
    opened = Desk(resources, database, tmp_path)
    yield opened
    await opened.close()


def cells(content: bytes, separator=",", encoding="utf-8"):
    return list(csv.reader(io.StringIO(content.decode(encoding), newline=""), delimiter=separator))


async def test_a_csv_holds_every_kind_of_value(desk, resources):
    made = await resources.create("shelf.books", BOOK)
    await resources.create("shelf.books", {"id": 2, "title": "empty"})
    content = await desk.export(titles=False)
    header, first, second = cells(content)
    declared = resources.declared["shelf.books"]
    assert header == list(declared.fields)
    shown = declared.show(made)
    for name, text in zip(header, first, strict=True):
        want = shown[name]
        if name in ("read_at", "local_at", "made_at"):
            assert text.endswith("Z")
            assert datetime.fromisoformat(text) == made[name]
        elif name == "notes":
            assert json.loads(text) == want
        elif name == "weight":
            assert float(text) == want
        elif name == "opens_at":
            assert time.fromisoformat(text) == made[name]
        else:
            assert text == {True: "true", False: "false"}.get(want, str(want)) if isinstance(want, bool) else str(want)
    assert dict(zip(header, second, strict=True))["title"] == "empty"
    assert [text for name, text in zip(header, second, strict=True) if name not in ("id", "title", "made_at")] == [
        ""
    ] * 14


async def test_a_csv_is_written_as_asked(desk, resources):
    await resources.create("shelf.books", {"id": 1, "title": "Größe", "isbn": None})
    content = await desk.export(fields=["title", "id"], separator=";", encoding="windows-1252")
    assert content == "Title;id\nGröße;1\n".encode("windows-1252")
    assert await desk.export(fields=["id"], bom=True) == b"\xef\xbb\xbfid\n1\n"
    assert await desk.export(fields=["id", "title"], titles={"id": "Nr"}, encoding="utf-16", separator="\t") == (
        "Nr\tTitle\n1\tGröße\n".encode("utf-16")
    )
    with pytest.raises(TaskFailedError, match="cannot be written in ascii"):
        await desk.export(encoding="ascii")


async def test_no_text_of_a_csv_is_a_formula_unless_asked_for(desk, resources):
    for number, text in enumerate(FORMULAS):
        await resources.create("shelf.books", {"id": number, "title": text, "price": "-5"})
    rows = cells(await desk.export(fields=["title", "price"]))[1:]
    assert rows == [[f"'{text}", "-5.00"] for text in FORMULAS]
    assert [row[0] for row in cells(await desk.export(fields=["title"], guard=False))[1:]] == FORMULAS
    assert cells(await desk.export(fields=["id"], titles={"id": "=1"}))[0] == ["'=1"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx"])
async def test_filter_sort_and_fields_of_referred_records(desk, resources, form):
    for number in range(10):
        maker = "acme" if number % 2 else None
        await resources.create("shelf.books", {"id": number, "title": f"{number}%", "maker": maker, "price": number})
    content = await desk.export(
        format=form,
        fields=["maker.name", "title", "maker"],
        filter={"price": {"ge": "6.00"}, "title": {"ne": "8%"}},
        sort="-id",
        guard=False,
    )
    wanted = [["=Acme", "9%", "acme"], ["=Acme", "7%", "acme"], ["", "6%", ""]]
    if form == "csv":
        assert cells(content) == [["maker: name", "Title", "maker"], *wanted]
    elif form == "jsonl":
        lines = [json.loads(line) for line in content.splitlines()]
        assert [[value or "" for value in line.values()] for line in lines] == wanted
        assert list(lines[0]) == ["maker.name", "title", "maker"]
    else:
        page = openpyxl.load_workbook(io.BytesIO(content)).active
        rows = [[cell or "" for cell in row] for row in page.iter_rows(values_only=True)]
        assert rows == [["maker: name", "Title", "maker"], *wanted]
        assert page["A2"].data_type == "s"


async def test_a_workbook_holds_every_kind_of_value(desk, resources):
    await resources.create("shelf.books", BOOK)
    page = openpyxl.load_workbook(io.BytesIO(await desk.export(format="xlsx", titles=False))).active
    names, values = page.iter_rows(values_only=True)
    found = dict(zip(names, values, strict=True))
    assert found["id"] == 1
    assert found["title"] == BOOK["title"]
    assert found["isbn"] == "007"
    assert found["pages"] == "-9007199254740993"  # a workbook's number would round it
    assert found["price"] == -12.5
    assert found["is_new"] is True
    assert found["state"] == "SOLD"
    assert found["printed_on"].date() == BOOK["printed_on"]
    assert found["opens_at"] == BOOK["opens_at"]
    assert found["read_at"].replace(tzinfo=UTC) == BOOK["read_at"]
    assert json.loads(found["notes"]) == BOOK["notes"]


async def test_a_workbook_goes_on_in_another_sheet_and_tells_of_what_was_cut(desk, resources, monkeypatch):
    monkeypatch.setattr(xlsx_rows, "MAX_ROWS", 4)
    monkeypatch.setattr(xlsx_rows, "MAX_LETTERS", 5)
    for number in range(7):
        await resources.create("shelf.books", {"id": number, "title": f"title {number}"})
    _, content, told = await desk.run(desk.task(format="xlsx", fields=["id", "title"]))
    book = openpyxl.load_workbook(io.BytesIO(content))
    assert [page.title for page in book] == ["Books", "Books 2", "Books 3"]
    rows = [row for page in book for row in list(page.iter_rows(values_only=True))[1:]]
    assert rows == [(number, "title") for number in range(7)]
    assert told == {"rows": 7, "sheets": 3, "cut_texts": 7}


async def test_parquet_holds_typed_columns(desk, resources):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'nocohost[parquet]'")
    await resources.create("shelf.books", BOOK)
    (row,) = parquet.read_table(io.BytesIO(await desk.export(format="parquet", titles=False))).to_pylist()
    for name, value in BOOK.items():
        want = {"state": "SOLD", "mark": str(BOOK["mark"])}.get(name, value)
        assert (json.loads(row[name]) if name == "notes" else row[name]) == want


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx"])
async def test_an_export_is_of_one_moment_and_says_how_far_it_is(desk, resources, form):
    rows = [{"id": number, "title": f"book {number}"} for number in range(3000)]
    await resources.create_many("shelf.books", rows)
    task = desk.task(format=form, fields=["id"])

    def delete_once(done):
        task.on_progress = lambda done: None
        with desk.blocking.begin() as connection:
            connection.exec_driver_sql("DELETE FROM shelf_books WHERE id >= 1000")

    task.on_progress = delete_once
    file, content, told = await desk.run(task)
    assert told["rows"] == 3000
    assert task.told[0] == (0, 3000, "rows")
    assert task.told[-1] == (3000, 3000, "rows")
    assert (file.owner, file.name.endswith(f".{form}")) == ("ann", True)
    if form != "xlsx":
        assert len(content.splitlines()) == 3000 + (form == "csv")
    assert await resources.count("shelf.books") == 1000


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx"])
async def test_what_a_plugin_s_own_type_stores_is_not_what_is_shown(desk, resources, form):
    mark = "12345678-1234-4678-9234-567812345678"
    await resources.create("shelf.labels", {"text": "=abc", "mark": mark})
    content = await desk.export("shelf.labels", format=form)
    if form == "csv":
        assert cells(content)[1:] == [["1", "'=abc", mark]]
    elif form == "jsonl":
        assert json.loads(content) == {"id": 1, "text": "=abc", "mark": mark}
    else:
        page = openpyxl.load_workbook(io.BytesIO(content)).active
        assert [[cell.value for cell in row] for row in page.iter_rows(min_row=2)] == [[1, "=abc", mark]]


async def test_a_row_of_one_null_is_a_row(desk, resources):
    await resources.create_many("shelf.books", [{"id": 1, "title": "x"}, {"id": 2, "title": "x", "isbn": "1,5"}])
    assert await desk.export(fields=["isbn"]) == b'isbn\n""\n"1,5"\n'


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx", "parquet"])
async def test_an_export_that_is_cancelled_packs_nothing_and_leaves_nothing_behind(
    desk, resources, form, tmp_path, monkeypatch
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    await resources.create_many("shelf.makers", [{"code": f"c{number}"} for number in range(5000)])
    packed = []
    monkeypatch.setattr("xlsxwriter.workbook.Workbook._store_workbook", lambda book: packed.append("a book"))
    task = desk.task("shelf.makers", format=form)

    def stop(done):
        if done > 2000:
            raise AttemptCancelledError("stop")

    task.on_progress = stop
    with pytest.raises(AttemptCancelledError):
        await desk.run(task)
    assert (list(folder.iterdir()), packed) == ([], [])


async def test_what_ends_an_export_leaves_no_file(desk, resources, database):
    await resources.create_many("shelf.books", [{"id": number, "title": "x"} for number in range(10)])
    task = desk.task()

    def stop(done):
        raise KeyError("stop")

    task.on_progress = stop
    with pytest.raises(KeyError):
        await desk.run(task)
    assert await desk.storage.sweep(lambda file, error: None) <= 1  # it may end before it has begun to store


def test_params_that_contradict_what_is_declared_are_refused_at_once(database):
    from types import SimpleNamespace

    from probes.shelf import DECLARED

    from nocohost.store.resources.bulk import SqlBulk
    from nocohost.store.resources.shape import Shape

    bulk = SqlBulk(lambda name: Shape(DECLARED[name], database.dialect), None)
    app = SimpleNamespace(resources=SimpleNamespace(declared=DECLARED, bulk=bulk))
    for params, told in (
        ({"resource": "shelf.boks"}, "no installed plugin declares"),
        ({"resource": "shelf.books", "fields": ["title", "nothing"]}, "'nothing' is no field"),
        ({"resource": "shelf.books", "fields": ["title.name"]}, "refers to no resource"),
        ({"resource": "shelf.books", "fields": ["maker.size"]}, "'size' is no field of shelf.makers"),
        ({"resource": "shelf.books", "fields": ["id", "id"]}, "there twice"),
        ({"resource": "shelf.books", "titles": {"size": "x"}}, "is not exported"),
        ({"resource": "shelf.books", "filter": {"size": 1}}, "size"),
        ({"resource": "shelf.books", "sort": "size"}, "size"),
    ):
        with pytest.raises(PayloadError, match=told) as caught:
            permissions_of(ExportParams(**params), app)
        assert caught.value.code == "exchange.export"
    wanted = ExportParams(resource="shelf.books", fields=["title", "maker.name"])
    assert permissions_of(wanted, app) == ["shelf.read"]


@pytest.mark.parametrize(
    "params",
    [{"format": "pdf"}, {"separator": "ab"}, {"encoding": "klingon"}, {"bom": True, "encoding": "ascii"}, {"x": 1}],
)
def test_params_that_cannot_be_are_refused(params):
    with pytest.raises(ValueError, match="ExportParams"):
        ExportParams(resource="shelf.books", **params)
