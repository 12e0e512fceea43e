"""The kind ``import`` on both databases: every mode, misfits, relations, subscribers, and an attempt that is killed."""

import io
from datetime import date
from decimal import Decimal

import pytest
from probes.import_desk import Desk
from probes.shelf import books, copies, jobs_of, makers, open_shelf

from builtin_plugins.async_task import TaskFailedError
from nocohost import Subscription

HEAD = "id,Title,isbn,price,printed_on\n"


@pytest.fixture
async def desk(database):
    opened = Desk(await open_shelf(database), database)
    yield opened
    await opened.close()


def counted(value, **wanted):
    """Tell whether a result counts this, and nothing else."""
    zero = dict.fromkeys(("created", "updated", "skipped", "refused", "fitting"), 0)
    return {name: value[name] for name in zero} == {**zero, **wanted}


async def test_rows_are_typed_and_land_in_the_fields_that_titles_name(desk):
    value = await desk.load(f'{HEAD}1,"a, b",978,12.50,2024-02-29\n2,"x\ny\t\\N",,,\n')
    assert counted(value, created=2)
    assert value["file"] == {"format": "csv", "encoding": "utf-8", "separator": ","}
    assert await desk.rows(books, "id", "title", "isbn", "price", "printed_on") == [
        (1, "a, b", "978", Decimal("12.50"), date(2024, 2, 29)),
        (2, "x\ny\t\\N", None, None, None),
    ]
    made = await desk.resources.create("shelf.books", {"title": "next"})
    assert made["id"] == 3, "keys go on above those that were imported"


@pytest.mark.parametrize("dry_run", [False, True])
async def test_the_last_that_is_told_of_an_import_is_that_all_of_it_is_done(desk, dry_run):
    task = desk.task("shelf.books", dry_run=dry_run)
    await desk.run(task, f'{HEAD}1,"two\nlines",978,1,\n2,"and\nthree\nmore",,,\n'.encode())
    assert task.told[-1] == (2, 2, "rows checked" if dry_run else "rows")


async def test_every_kind_of_field_comes_in(desk):
    content = (
        "id;title;pages;weight;is_new;state;opens_at;read_at;local_at;mark;notes;cover\n"
        "1;ä;1.000;0,5;ja;SOLD;8:30;2026-01-31 08:00;31.1.2026;0190a3b4-0000-7000-8000-000000000001;"
        '"{""a"": [1]}";AAEC\n'
    )
    await desk.load(content, locale="de", timezone="Europe/Berlin")
    shown = desk.resources.declared["shelf.books"].show(await desk.resources.get("shelf.books", 1))
    assert {name: shown[name] for name in shown if shown[name] is not None and name != "made_at"} == {
        "id": 1,
        "title": "ä",
        "pages": 1000,
        "weight": 0.5,
        "is_new": True,
        "state": "SOLD",
        "opens_at": "08:30:00",
        "read_at": "2026-01-31T07:00:00Z",
        "local_at": "2026-01-30T23:00:00Z",
        "mark": "0190a3b4-0000-7000-8000-000000000001",
        "notes": {"a": [1]},
        "cover": "AAEC",
    }


OLD = f"{HEAD}1,one,11,1.00,\n2,two,22,2.00,\n"


@pytest.mark.parametrize(
    ("mode", "key", "content", "counts", "rows"),
    [
        (
            "skip",
            [],
            f"{HEAD}2,x,33,,\n3,new,44,,\n",
            {"created": 1, "skipped": 1},
            [(1, "one"), (2, "two"), (3, "new")],
        ),
        ("skip", ["isbn"], "isbn,title\n22,x\n44,new\n44,again\n", {"created": 1, "skipped": 2}, None),
        ("update", [], "id,title\n2,TWO\n9,x\n", {"updated": 1, "skipped": 1}, [(1, "one"), (2, "TWO")]),
        ("update", ["isbn"], "isbn,title\n22,x\n22,TWO\n", {"updated": 2}, [(1, "one"), (2, "TWO")]),
        ("update", ["title"], "title,price\none,7\n", {"updated": 1}, [(1, "one"), (2, "two")]),
        (
            "upsert",
            [],
            f"{HEAD}2,TWO,22,,\n3,new,,,\n",
            {"created": 1, "updated": 1},
            [(1, "one"), (2, "TWO"), (3, "new")],
        ),
        ("upsert", ["isbn"], "isbn,title\n22,TWO\n33,x\n33,three\n", {"created": 1, "updated": 2}, None),
        ("upsert", ["title"], "title,price\none,7\nnew,8\n", {"created": 1, "updated": 1}, None),
    ],
)
@pytest.mark.parametrize("watched", [False, True])
async def test_each_mode_finds_records_by_its_key(desk, database, mode, key, content, counts, rows, watched):
    await desk.load(OLD)
    if watched:
        await desk.resources.subscriptions.set(
            Subscription("note", "shelf.books", "shelf:note", on=("create", "update"))
        )
    assert counted(await desk.load(content, mode=mode, key=key), **counts)
    if rows is not None:
        assert await desk.rows(books, "id", "title") == rows
    told = [(job["event"], len(job["records"])) for job in await jobs_of(database)]
    distinct = {**counts, "updated": min(counts.get("updated", 0), 1)}
    expected = [("create", 1)] * distinct.get("created", 0) + [("update", 1)] * distinct["updated"]
    assert sorted({*told}) == sorted({*expected}) if watched else told == []


async def test_subscribers_are_told_what_was_and_what_is(desk, database):
    await desk.load(OLD)
    await desk.resources.subscriptions.set(Subscription("note", "shelf.books", "shelf:note", on=("create", "update")))
    await desk.load(f"{HEAD}2,TWO,22,2.00,\n3,new,,1.50,\n", mode="upsert")
    told = {job["event"]: job["records"][0] for job in await jobs_of(database)}
    assert (told["update"]["before"]["title"], told["update"]["after"]["title"]) == ("two", "TWO")
    assert (told["create"]["before"], told["create"]["after"]["price"], told["create"]["key"]) == (
        None,
        "1.50",
        {"id": 3},
    )
    await desk.load(f"{HEAD}4,more,,,\n5,more,,,\n")
    assert [len(job["records"]) for job in await jobs_of(database)] == [1, 1, 2]


async def test_one_misfit_and_nothing_is_imported_but_every_misfit_is_told(desk):
    task = desk.task("shelf.books")
    with pytest.raises(TaskFailedError, match=r"2 rows do not fit; nothing is imported") as raised:
        await desk.run(task, f"{HEAD}1,a,,,\n2,,,1.234,\n3,b,,,\n4\n".encode())
    assert raised.value.code == "exchange.rows"
    assert await desk.rows(books, "id") == []
    assert [(one.row, one.field, one.value) for one in task.errors] == [
        (3, "title", ""),
        (3, "price", "1.234"),
        (5, "", ""),
    ]


async def test_misfits_are_skipped_up_to_a_limit(desk):
    content = f"{HEAD}1,a,,,\nx,b,,,\n3,c,,,\n".encode()
    task = desk.task("shelf.books", on_error="skip")
    assert counted((await desk.run(task, content)).value, created=2, refused=1)
    assert [(one.row, one.field, one.reason) for one in task.errors] == [(3, "id", "'x' is no number")]
    more = f"{HEAD}11,a,,,\nx,b,,,\nx,c,,,\n".encode()
    with pytest.raises(TaskFailedError, match=r"row 3, id: 'x' is no number; nothing is imported"):
        await desk.run(desk.task("shelf.books", on_error="skip", max_errors=1), more)
    assert await desk.rows(books, "id") == [(1,), (3,)]


async def test_a_row_that_the_database_refuses_is_named_too(desk):
    await desk.load(OLD)
    task = desk.task("shelf.books", on_error="skip")
    rows = "".join(f"{number},t{number},{22 if number in (30, 70) else number + 1000},,\n" for number in range(10, 100))
    assert counted((await desk.run(task, (HEAD + rows + "10,again,,,\n").encode())).value, created=88, refused=3)
    assert [(one.row, one.field, one.value, one.reason) for one in task.errors] == [
        (22, "isbn", "22", "is taken by another record"),
        (62, "isbn", "22", "is taken by another record"),
        (92, "id", "10", "is taken by another record"),
    ]
    with pytest.raises(TaskFailedError, match=r"row 2, isbn: is taken by another record; nothing is imported"):
        await desk.load(f"{HEAD}500,x,22,,\n501,y,,,\n")
    assert len(await desk.rows(books, "id")) == 90


async def test_what_refers_to_nothing_is_named(desk):
    await desk.load("code,name\nA,Ada\n", "shelf.makers")
    task = desk.task("shelf.books", on_error="skip")
    content = "title,maker\n" + "".join(f"t{number},{'A' if number != 5 else 'Z'}\n" for number in range(9))
    assert counted((await desk.run(task, content.encode())).value, created=8, refused=1)
    assert [(one.row, one.field, one.value) for one in task.errors] == [(7, "maker", "Z")]


async def test_records_are_found_by_what_people_call_them(desk):
    await desk.load("code,name\nA,Ada\nB,Bob\nC,Bob\n", "shelf.makers")
    task = desk.task("shelf.books", lookups={"maker": "name"}, on_error="skip")
    await desk.run(task, b"title,maker\none,Ada\ntwo,Eve\nthree,Bob\nfour,\nfive,Ada\n")
    assert sorted((title, maker) for title, maker in await desk.rows(books, "title", "maker")) == [
        ("five", "A"),
        ("four", None),
        ("one", "A"),
    ]
    assert [(one.row, one.field, one.value) for one in task.errors] == [(3, "maker", "Eve"), (4, "maker", "Bob")]


async def test_a_dry_run_writes_nothing_and_counts(desk):
    task = desk.task("shelf.books", dry_run=True)
    assert counted((await desk.run(task, f"{HEAD}1,a,,,\nx,b,,,\n".encode())).value, fitting=1, refused=1)
    assert (await desk.rows(books, "id"), len(task.errors)) == ([], 1)


@pytest.mark.parametrize(
    ("content", "params", "said"),
    [
        ("id,titel\n1,x\n", {}, "'titel' is no field of shelf.books; did you mean 'Title'?"),
        ("id,price\n1,2\n", {}, "there is no column for title (Title)"),
        ("title,title\na,b\n", {}, "'title' (column 1) and 'title' (column 2) all mean title"),
        ("title,,isbn\na,b,c\n", {}, "column 2 has no title"),
        ("title\na\n", {"mapping": {"Titel": "title"}}, "'Titel' is mapped, but no column is called so"),
        ("title\na\n", {"mode": "upsert"}, "there is no column for id"),
        ("id\n1\n", {"mode": "update"}, "nothing to change"),
        ("title\na\n", {"lookups": {"maker": "name"}}, "no column of the file goes into maker"),
        ("", {}, "the file is empty"),
        ('title\n"a\n', {}, "row 2 is no CSV: a quote is opened and never closed"),
    ],
)
async def test_a_file_that_does_not_fit_the_resource_is_refused_as_a_whole(desk, content, params, said):
    with pytest.raises(TaskFailedError) as raised:
        await desk.load(content, **params)
    assert said in str(raised.value)
    assert raised.value.code in ("exchange.columns", "exchange.file", "exchange.csv")
    assert await desk.rows(books, "id") == []


async def test_columns_are_mapped_or_left_out(desk):
    value = await desk.load("Nr,Was,x,\n1,a,?,\n", mapping={"Nr": "id", "Was": "title"}, ignore_unknown=True)
    assert value["ignored"] == ["x", ""]
    await desk.load("id,TITLE ,cover\n2,b,?\n", mapping={"cover": None})
    assert await desk.rows(books, "id", "title", "cover") == [(1, "a", None), (2, "b", None)]


async def test_a_key_of_two_fields_and_null_in_a_key(desk):
    await desk.load("id,title\n1,a\n")
    content = "book,number,place\n1,a,left\n1,b,right\n"
    assert counted(await desk.load(content, "shelf.copies", mode="upsert"), created=2)
    assert counted(await desk.load(content.replace("left", "mid"), "shelf.copies", mode="upsert"), updated=2)
    assert await desk.rows(copies, "number", "place") == [("a", "mid"), ("b", "right")]
    task = desk.task("shelf.books", mode="upsert", key=["isbn"], on_error="skip")
    await desk.run(task, b"isbn,title\n,x\n5,y\n")
    assert [(one.row, one.field, one.reason) for one in task.errors] == [(2, "isbn", "must not be null")]


async def test_json_lines_and_workbooks_come_in_alike(desk):
    import xlsxwriter

    await desk.load(b'{"id": 1, "title": "a", "price": "1.50", "is_new": true}\n{"id": 2, "title": "b"}\n')
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    page = book.add_worksheet()
    for number, row in enumerate([["id", "Title", "price", "is_new"], [3, "c", 1.5, True], [4, 17, "2.50", "no"]]):
        page.write_row(number, 0, row)
    book.close()
    await desk.load(buffer.getvalue())
    assert await desk.rows(books, "id", "title", "price", "is_new") == [
        (1, "a", Decimal("1.50"), True),
        (2, "b", None, None),
        (3, "c", Decimal("1.50"), True),
        (4, "17", Decimal("2.50"), False),
    ]


@pytest.mark.parametrize("mode", ["insert", "upsert"])
async def test_a_killed_attempt_goes_on_at_the_next_chunk_and_doubles_nothing(desk, monkeypatch, mode):
    monkeypatch.setattr("builtin_plugins.exchange.compiling.CHUNK_ROWS", 10)
    monkeypatch.setattr("builtin_plugins.exchange.compiling.SQLITE_ROWS", 10)
    content = ("code,name\n" + "".join(f"c{number:03},{'x' * 9}\n" for number in range(95))).encode()
    task = desk.task("shelf.makers", mode=mode)
    for dies_after in (3, 4, 9, None):
        task.dies_after = dies_after
        if dies_after is None:
            value = (await desk.run(task, content)).value
        else:
            with pytest.raises(KeyboardInterrupt):
                await desk.run(task, content)
            assert len(await desk.rows(makers, "code")) == task.checkpoint["row"] - 1
    assert counted(value, created=95)
    assert await desk.rows(makers, "code") == [(f"c{number:03}",) for number in range(95)]
    assert task.told[-1][:2] == (95, 95)


def told_of(task):
    return [(one.row, one.field, one.value) for one in task.errors]


@pytest.mark.parametrize(
    "params", [{"check_first": False}, {}, {"on_error": "skip", "max_errors": 2}, {"dry_run": True}]
)
async def test_an_import_that_is_retried_lists_every_misfit_once(desk, monkeypatch, params):
    monkeypatch.setattr("builtin_plugins.exchange.compiling.CHUNK_ROWS", 10)
    monkeypatch.setattr("builtin_plugins.exchange.compiling.SQLITE_ROWS", 10)
    wrong = (23, 26, 27) if "check_first" in params else (3, 13, 26, 27)
    rows = "".join(f"t{number},{'x' if number + 2 in wrong else 1}\n" for number in range(40))
    task = desk.task("shelf.books", **{"max_errors": 3, **params})
    for _ in range(3):
        with pytest.raises(TaskFailedError):
            await desk.run(task, f"title,price\n{rows}".encode())
        assert told_of(task) == [(row, "price", "x") for row in wrong]


async def test_a_check_that_is_killed_goes_on_and_lists_every_misfit_once(desk, monkeypatch):
    monkeypatch.setattr("builtin_plugins.exchange.compiling.CHUNK_ROWS", 10)
    monkeypatch.setattr("builtin_plugins.exchange.compiling.SQLITE_ROWS", 10)
    rows = "".join(f"t{number},{'x' if number in (1, 11, 21) else 1}\n" for number in range(40))
    task = desk.task("shelf.books")
    for task.dies_after, error in ((1, KeyboardInterrupt), (2, KeyboardInterrupt), (None, TaskFailedError)):
        with pytest.raises(error):
            await desk.run(task, f"title,price\n{rows}".encode())
    assert told_of(task) == [(row, "price", "x") for row in (3, 13, 23)]


async def test_an_import_that_failed_its_check_succeeds_when_what_was_missing_is_there(desk):
    task = desk.task("shelf.books", lookups={"maker": "name"})
    with pytest.raises(TaskFailedError, match="1 row does not fit"):
        await desk.run(task, b"title,maker\none,Ada\n")
    await desk.load("code,name\nA,Ada\n", "shelf.makers")
    assert counted((await desk.run(task, b"title,maker\none,Ada\n")).value, created=1)
    assert told_of(task) == []


async def test_types_of_plugins_store_what_they_make_of_a_value(desk):
    mark = "12345678-1234-4678-9234-567812345678"
    await desk.load(f"id,text,mark\n1,abc,{mark}\n2,,\n", "shelf.labels")
    found = [
        (one["text"], one["mark"] and str(one["mark"])) for one in (await desk.resources.list("shelf.labels")).items
    ]
    assert sorted(found, key=str) == [("abc", mark), (None, None)]


async def test_keys_go_on_above_what_an_import_left_that_stopped_in_the_middle(desk, monkeypatch):
    monkeypatch.setattr("builtin_plugins.exchange.compiling.CHUNK_ROWS", 10)
    monkeypatch.setattr("builtin_plugins.exchange.compiling.SQLITE_ROWS", 10)
    content = "id,title\n" + "".join(f"{number},x\n" for number in range(1, 21)) + "x,x\n" * 3
    with pytest.raises(TaskFailedError, match="what is above row 22 is imported"):
        await desk.load(content, on_error="skip", max_errors=2)
    assert (await desk.resources.create("shelf.books", {"title": "next"}))["id"] == 21


async def test_stopping_in_the_middle_says_where_to_go_on(desk, monkeypatch):
    monkeypatch.setattr("builtin_plugins.exchange.compiling.CHUNK_ROWS", 10)
    monkeypatch.setattr("builtin_plugins.exchange.compiling.SQLITE_ROWS", 10)
    rows = [f"c{number:03},x\n" for number in range(30)]
    rows[24] = "c000,again\n"
    with pytest.raises(TaskFailedError, match=r"what is above row 22 is imported; mend it and go on with after_row=21"):
        await desk.load("code,name\n" + "".join(rows), "shelf.makers")
    assert len(await desk.rows(makers, "code")) == 20
    rows[24] = "c024,x\n"
    assert counted(await desk.load("code,name\n" + "".join(rows), "shelf.makers", after_row=21), created=10)
    assert len(await desk.rows(makers, "code")) == 30
