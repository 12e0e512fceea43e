"""Stored files over real HTTP: downloads in parts, for their owners only, and uploads stored while they come."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from aiohttp import web
from probes.web_door import Tokens, fake_app, open_door

from nocohost.api.routes import route
from nocohost.node.settings import HttpSettings
from nocohost.storage.choice import shelves_for
from nocohost.storage.door import FileStorage
from nocohost.store.database import SqlDatabase
from nocohost.web.downloads import send_file
from nocohost.web.uploads import receive_form

ANN, BOB, OPERATOR = "nch_ann_secret", "nch_bob_secret", "nch_operator_secret"
CONTENT = os.urandom(3_000_000)
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
BOUNDARY = "a-boundary"


async def download(request: web.Request) -> web.StreamResponse:
    return await send_file(request, request.match_info["id"])


async def upload(request: web.Request) -> web.Response:
    form = await receive_form(request, max_bytes=2_000_000)
    files = {part: {"id": file.id, "name": file.name, "size": file.size} for part, file in form.files.items()}
    return web.json_response({"fields": form.fields, "files": files})


ROUTES = [
    route("GET", "/files/{id}", download, permission="shop.read"),
    route("POST", "/files", upload, permission="shop.read"),
]


@pytest.fixture
def dialect() -> str:
    """One is enough: what the database makes of files has tests of its own."""
    return "sqlite"


@pytest.fixture
def storage(database: SqlDatabase, tmp_path: Path) -> FileStorage:
    return FileStorage(database, shelves_for(None, database, tmp_path), max_file_mib=4)


@pytest.fixture
async def door(storage):
    tokens = Tokens(ann=["shop.read"], bob=["shop.read"], operator=["operate", "shop.read"])
    settings = HttpSettings(body_bytes=1000)
    async with open_door(ROUTES, app=fake_app(storage=storage), tokens=tokens, settings=settings) as opened:
        yield opened


@pytest.fixture
async def file(storage):
    return await storage.put(CONTENT, name="report.csv", media_type="text/csv", owner="ann")


async def test_the_owner_gets_the_whole_file_to_save(door, file):
    answer = await door.ask("GET", f"/files/{file.id}", token=ANN)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="report.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Etag"] == ETAG
    assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_head_tells_what_get_would(door, file):
    answer = await door.ask("HEAD", f"/files/{file.id}", token=ANN, headers={"Range": "bytes=0-4"})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Etag"] == ETAG


async def test_to_anybody_else_there_is_no_such_file(door, file):
    refused = await door.ask("GET", f"/files/{file.id}", token=BOB)
    unknown = await door.ask("GET", "/files/00000000-0000-4000-8000-000000000000", token=BOB)
    assert refused.status == unknown.status == 404
    assert refused.json()["code"] == unknown.json()["code"] == "storage.file_not_found"
    assert refused.json()["detail"] == unknown.json()["detail"]
    assert (await door.ask("GET", f"/files/{file.id}")).status == 401
    assert (await door.ask("GET", f"/files/{file.id}", token=OPERATOR)).body == CONTENT


async def test_a_file_without_an_owner_is_for_operators(door, storage):
    nobodys = await storage.put(b"x", name="x")
    assert (await door.ask("GET", f"/files/{nobodys.id}", token=ANN)).status == 404
    assert (await door.ask("GET", f"/files/{nobodys.id}", token=OPERATOR)).body == b"x"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=1048570-1048580", 1048570, 1048581),
        ("bytes=2999990-", 2999990, 3000000),
        ("bytes=2999990-99999999", 2999990, 3000000),
        ("bytes=-7", 2999993, 3000000),
        ("bytes=-99999999", 0, 3000000),
    ],
)
async def test_one_range_is_sent(door, file, asked, start, end):
    answer = await door.ask("GET", f"/files/{file.id}", token=ANN, headers={"Range": asked})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/3000000"
    assert answer.headers["Content-Length"] == str(end - start)
    assert answer.body == CONTENT[start:end]


@pytest.mark.parametrize("asked", ["bytes=3000000-", "bytes=9999999-99999999", "bytes=-0"])
async def test_a_range_that_the_file_does_not_have_is_416(door, file, asked):
    answer = await door.ask("GET", f"/files/{file.id}", token=ANN, headers={"Range": asked})
    assert (answer.status, answer.json()["code"]) == (416, "http.range")
    assert answer.headers["Content-Range"] == "bytes */3000000"


@pytest.mark.parametrize(
    "asked", ["bytes=5-4", "bytes=-", "bytes=0-1,5-6", "rows=0-1", "bytes=a-b", f"bytes={'9' * 99}-"]
)
async def test_a_range_that_is_none_or_several_is_answered_with_all(door, file, asked):
    answer = await door.ask("GET", f"/files/{file.id}", token=ANN, headers={"Range": asked})
    assert (answer.status, len(answer.body)) == (200, len(CONTENT))


async def test_if_range_sends_all_of_another_file_and_if_none_match_nothing_of_the_same(door, file):
    async def status(**headers):
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        return (await door.ask("GET", f"/files/{file.id}", token=ANN, headers=fields)).status

    modified = (await door.ask("HEAD", f"/files/{file.id}", token=ANN)).headers["Last-Modified"]
    assert await status(Range="bytes=0-4", If_Range=ETAG) == 206
    assert await status(Range="bytes=0-4", If_Range=modified) == 206
    assert await status(Range="bytes=0-4", If_Range='"another"') == 200
    assert await status(Range="bytes=0-4", If_Range=f"W/{ETAG}") == 200
    assert await status(If_None_Match=f'"x", W/{ETAG}') == 304
    assert await status(If_None_Match="*") == 304
    assert await status(If_None_Match='"another"') == 200


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("C:\\Users\\x\\report.xlsx", 'attachment; filename="report.xlsx"'),
        ("a\r\nSet-Cookie: b=c.csv", 'attachment; filename="aSet-Cookie: b=c.csv"'),
        ("nul\0.csv", 'attachment; filename="nul.csv"'),
        ("..", 'attachment; filename="file"'),
        ("", 'attachment; filename="file"'),
        ("Ümsätze €.csv", "attachment; filename=\"_ms_tze _.csv\"; filename*=UTF-8''%C3%9Cms%C3%A4tze%20%E2%82%AC.csv"),
        ('say "hi";.csv', "attachment; filename=\"say _hi__.csv\"; filename*=UTF-8''say%20%22hi%22%3B.csv"),
        ("100%.csv", "attachment; filename=\"100_.csv\"; filename*=UTF-8''100%25.csv"),
        ("cod\u202egpj.exe", 'attachment; filename="codgpj.exe"'),
        ("x" * 300 + ".csv", f'attachment; filename="{"x" * 251}.csv"'),
    ],
)
async def test_a_hostile_name_is_only_a_name(door, storage, name, disposition):
    stored = await storage.put(b"x", name=name, owner="ann")
    answer = await door.ask("GET", f"/files/{stored.id}", token=ANN)
    assert (answer.status, answer.headers["Content-Disposition"]) == (200, disposition)


@pytest.mark.parametrize("media_type", ["text/html\r\nX: y", "x", "", "text/html; charset=\x00", "a/" + "b" * 200])
async def test_a_media_type_that_is_none_becomes_bytes(door, storage, media_type):
    stored = await storage.put(b"x", name="x", media_type=media_type, owner="ann")
    answer = await door.ask("GET", f"/files/{stored.id}", token=ANN)
    assert answer.headers["Content-Type"] == "application/octet-stream"


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    return body + f"--{BOUNDARY}--\r\n".encode()


def part(name: str, filename: str | None = None, media_type: str = "") -> str:
    head = f'Content-Disposition: form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    return head + (f"\r\nContent-Type: {media_type}" if media_type else "")


async def post(door, body, media_type=f"multipart/form-data; boundary={BOUNDARY}"):
    return await door.ask("POST", "/files", token=ANN, body=body, headers={"Content-Type": media_type})


async def stored_files(database):
    from sqlalchemy import func, select

    from nocohost.store.schema import files

    async with database.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(files))


async def test_a_form_is_taken_apart_and_its_files_are_stored(door, storage):
    content = CONTENT[:1_500_000]
    answer = await post(
        door,
        form((part("params"), b'{"a": 1}'), (part("file", "../orders.csv", "text/csv"), content), (part("b"), b"")),
    )
    assert answer.status == 200, answer.body
    told = answer.json()
    assert told["fields"] == {"params": '{"a": 1}', "b": ""}
    assert (told["files"]["file"]["name"], told["files"]["file"]["size"]) == ("orders.csv", 1_500_000)
    found = await storage.find(told["files"]["file"]["id"])
    assert (found.owner, found.media_type) == ("ann", "text/csv")
    assert b"".join([piece async for piece in storage.read(found.id)]) == content


async def test_a_file_above_the_limit_is_413_and_leaves_nothing(door, storage, database):
    answer = await post(door, form((part("one", "one.csv"), b"x"), (part("file", "x.csv"), b"x" * 2_000_001)))
    assert (answer.status, answer.json()["code"]) == (413, "storage.too_large")
    await storage.sweep(lambda file, error: None)
    assert await stored_files(database) == 0


async def test_a_file_above_the_limit_is_refused_while_it_comes(door):
    head = (
        f"POST /files HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAuthorization: Bearer {ANN}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    begun = f"--{BOUNDARY}\r\n{part('file', 'x.csv')}\r\n\r\n".encode() + b"x" * 3_200_000
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(head + f"{len(begun):x}\r\n".encode() + begun + b"\r\n")  # and it never ends
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 60)
    writer.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form((part("a"), b"x" * 600), (part("b"), b"x" * 600)), 413),
        (form((part("a"), b"1"), (part("a"), b"2")), 400),
        (
            form(
                (part("a"), b"\xff"),
            ),
            400,
        ),
        (
            form(
                ("X-Nothing: to say", b"1"),
            ),
            400,
        ),
        (form(*[(part(f"p{number}"), b"") for number in range(101)]), 400),
        (form((part("file", "x"), b"data"))[:-30], 400),
        (b"no multipart at all", 400),
    ],
)
async def test_a_form_that_cannot_be_taken_is_told_so_and_leaves_nothing(door, storage, database, body, status):
    answer = await post(door, form((part("first", "first.csv"), b"x"))[: -len(BOUNDARY) - 6] + body)
    assert answer.status == status, answer.body
    await storage.sweep(lambda file, error: None)
    assert await stored_files(database) == 0


async def test_a_body_that_is_no_form_is_415(door):
    assert (await post(door, b"{}", "application/json")).status == 415
    assert (await post(door, b"a=1", "application/x-www-form-urlencoded")).status == 415
    assert (await post(door, b"a=1", "multipart/form-data")).status == 400


async def test_what_holds_the_files_may_be_away(storage, database, tmp_path):
    (tmp_path / "blocked").write_text("a file")
    blocked = FileStorage(database, shelves_for(f"file://{tmp_path}/blocked", database, tmp_path), max_file_mib=4)
    async with open_door(ROUTES, app=fake_app(storage=blocked), tokens=Tokens(ann=["shop.read"])) as door:
        answer = await post(door, form((part("file", "x"), b"data")))
        assert (answer.status, answer.json()["code"]) == (503, "storage.unavailable")
        assert str(tmp_path) not in answer.body.decode()
