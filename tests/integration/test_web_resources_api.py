"""``/api/v1/resources`` over HTTP, on both databases."""

import json
from urllib.parse import quote

import pytest
from probes.shelf import DECLARED, jobs_of, open_shelf
from probes.web_door import Tokens, fake_app, open_door

from nocohost import Subscription

TOKENS = {"ada": ["admin"], "reader": ["shelf.read"], "writer": ["shelf.write"], "nobody": ["shop.read"]}
BOOKS = "/api/v1/resources/shelf.books"
COPIES = "/api/v1/resources/shelf.copies"


@pytest.fixture
async def ask(database):
    shelf = await open_shelf(database)
    app = fake_app(database=database, resources=shelf)
    async with open_door(app=app, tokens=Tokens(**TOKENS), resources=DECLARED) as door:

        async def ask(method, path, body=None, *, who="ada", headers=None, **query):
            if query:
                path += "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
            text = b"" if body is None else json.dumps(body).encode()
            fields = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(text))}
            return await door.ask(
                method, path, token=f"nch_{who}_secret", body=text, headers={**fields, **(headers or {})}
            )

        ask.shelf = shelf
        yield ask


async def test_a_record_is_created_shown_changed_and_deleted(ask):
    made = await ask("POST", BOOKS, {"title": "x", "price": "12.50", "read_at": "2026-01-31T10:00:00+02:00"})
    assert made.status == 201
    record = made.json()
    assert (record["price"], record["read_at"]) == ("12.50", "2026-01-31T08:00:00Z")
    place = made.headers["Location"]
    assert place == f"{BOOKS}/{record['id']}"
    assert (await ask("GET", place)).json() == record
    assert (await ask("GET", place, fields="price,id")).json() == {"price": "12.50", "id": record["id"]}
    changed = await ask("PATCH", place, {"price": 13})
    assert (changed.status, changed.json()) == (200, {**record, "price": "13.00"})
    gone = await ask("DELETE", place)
    assert (gone.status, gone.body) == (204, b"")
    assert (await ask("GET", place)).status == 404


async def test_a_list_is_filtered_sorted_and_paged(ask):
    await ask.shelf.create_many("shelf.books", [{"title": f"t{place}", "pages": place % 3} for place in range(9)])
    query = {"filter": '{"pages": {"ge": 1}}', "sort": "-pages,title", "fields": "title", "limit": "4"}
    first = (await ask("GET", BOOKS, **query)).json()
    assert [one["title"] for one in first["items"]] == ["t2", "t5", "t8", "t1"]
    second = (await ask("GET", BOOKS, after=first["next"], **query)).json()
    assert ([one["title"] for one in second["items"]], second["next"]) == (["t4", "t7"], None)


async def test_each_resource_asks_its_own_permissions(ask):
    for who, reads, writes in (("reader", 200, 403), ("writer", 403, 201), ("nobody", 403, 403)):
        assert (await ask("GET", BOOKS, who=who)).status == reads
        assert (await ask("POST", BOOKS, {"title": "x"}, who=who)).status == writes
        assert (await ask("GET", f"{BOOKS}/1", who=who)).status == (403 if reads == 403 else 404)
        assert (await ask("DELETE", f"{BOOKS}/77", who=who)).status == (403 if writes == 403 else 404)
    assert (await ask("GET", BOOKS, who="unknown")).status == 401


async def test_what_is_wrong_is_a_problem_that_names_the_place(ask):
    await ask("POST", BOOKS, {"title": "x", "isbn": "9"})
    cases = [
        (await ask("GET", BOOKS, filter='{"or": [{"pages": {"gt": "x"}}]}'), 400, "resource.query", "or[0].pages.gt"),
        (await ask("GET", BOOKS, filter="{"), 400, "resource.query", "filter: "),
        (await ask("GET", BOOKS, filter=""), 400, "resource.query", "filter: "),
        (await ask("GET", BOOKS, sort="nope"), 400, "resource.query", "sort: 'nope'"),
        (await ask("GET", BOOKS, fields="nope"), 400, "resource.query", "fields: 'nope'"),
        (await ask("GET", BOOKS, after="nope"), 400, "resource.query", "after: "),
        (await ask("POST", BOOKS, {"pages": "1"}), 422, "resource.values", "pages: '1' is no integer"),
        (await ask("POST", BOOKS, {"title": "y", "isbn": "9"}), 409, "resource.conflict", "isbn: is taken"),
        (await ask("PATCH", f"{BOOKS}/1", {"maker": "m"}), 409, "resource.conflict", "maker: refers to"),
        (await ask("PATCH", f"{BOOKS}/1", {"id": 2}), 422, "resource.values", "id: is part of the primary key"),
    ]
    for answer, status, code, fault in cases:
        problem = answer.json()
        assert (answer.status, problem["code"]) == (status, code)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert problem["faults"][0].startswith(fault)
    for query in ({"limit": "1000000000"}, {"limit": "0"}, {"offset": "1"}):
        assert (await ask("GET", BOOKS, **query)).status == 400
    assert (await ask("POST", BOOKS, [])).status == 422
    assert (await ask("POST", BOOKS, {"title": "x"}, headers={"Content-Type": "text/plain"})).status == 415


async def test_ids_that_cannot_be_are_answered_like_those_that_are_not_there(ask):
    for key in ("0", "-1", str(2**63), "x", "1.5", "9" * 300, "%00", "..%2f", "1/2", "'%20OR%201=1"):
        for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"title": "x"})):
            answer = await ask(method, f"{BOOKS}/{key}", body)
            assert (answer.status, answer.json()["code"]) == (404, "resource.record_not_found"), (method, key)


async def test_a_key_of_several_fields_is_several_parts_of_the_path(ask):
    await ask("POST", BOOKS, {"title": "x"})
    made = await ask("POST", COPIES, {"book": 1, "number": "a/b c%", "place": "left"})
    assert made.headers["Location"] == f"{COPIES}/1/a%2Fb%20c%25"
    assert (await ask("GET", made.headers["Location"])).json()["place"] == "left"
    assert (await ask("GET", f"{COPIES}/1")).status == 404


async def test_what_is_not_there_is_told_from_what_is_not_allowed(ask):
    unknown = await ask("GET", "/api/v1/resources/shelf.boks")
    assert (unknown.status, unknown.json()["code"]) == (404, "resource.unknown")
    assert "shelf.books" in unknown.json()["hint"]
    assert (await ask("POST", "/api/v1/resources/shelf.boks", {})).status == 404
    put = await ask("PUT", BOOKS, {})
    assert (put.status, put.headers["Allow"]) == (405, "GET, HEAD, POST")
    post = await ask("POST", f"{BOOKS}/1", {})
    assert (post.status, post.headers["Allow"]) == (405, "DELETE, GET, HEAD, PATCH")


async def test_the_resources_that_one_may_read_are_listed_with_their_fields(ask):
    items = (await ask("GET", "/api/v1/resources")).json()["items"]
    assert [one["name"] for one in items] == ["shelf.books", "shelf.copies", "shelf.makers", "shelf.labels"]
    price = next(field for field in items[0]["fields"] if field["name"] == "price")
    assert (price["kind"], price["scale"], price["required"]) == ("decimal", 2, False)
    assert (await ask("GET", "/api/v1/resources", who="nobody")).status == 403


async def test_a_write_over_http_tells_subscribers(ask, database):
    await ask.shelf.subscriptions.set(Subscription("note", "shelf.books", "shelf:note", on=("create",)))
    await ask("POST", BOOKS, {"title": "x"})
    assert [job["event"] for job in await jobs_of(database)] == ["create"]


async def test_the_description_has_a_schema_for_each_resource(ask):
    document = (await ask("GET", "/api/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert schemas["shelf.books.new"]["required"] == ["title"]
    assert schemas["shelf.books"]["properties"]["price"]["type"] == ["string", "null"]
    assert schemas["shelf.books"]["properties"]["state"]["enum"] == ["NEW", "SOLD", None]
    assert "id" not in schemas["shelf.books.changes"]["properties"]
    one = document["paths"][f"{COPIES}/{{book}}/{{number}}"]
    assert set(one) == {"get", "patch", "delete"}
    assert [each["name"] for each in one["delete"]["parameters"]] == ["book", "number"]
    named = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(named) == len(set(named))
    references = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {reference.partition('"')[0] for reference in references} <= set(schemas)
