"""The description of the API: complete, and true to what is served."""

import json
import re

import pytest
from click.testing import CliRunner
from probes.web_door import Tokens, fake_app, open_door

from nocohost.cli.main import nocohost
from nocohost.node.identity import new_id
from nocohost.queue.enqueue import JobQueue
from nocohost.store.nodes import NodeRecord, register_node
from nocohost.web.gate import GATE
from nocohost.web.resources_api import refuse_unknown
from nocohost.web.views import JobView, NodeView

ADMIN = "nch_ada_secret"
TOKENS = {"ada": ["admin"], "viewer": ["read"], "shopper": ["shop.order"]}


@pytest.fixture
async def document():
    async with open_door(tokens=Tokens(**TOKENS)) as door:
        answer = await door.ask("GET", "/api/openapi.json", token="nch_viewer_secret")
        assert answer.status == 200
        return answer.json()


async def test_it_is_shown_to_who_may_read_and_to_nobody_else():
    async with open_door(tokens=Tokens(**TOKENS)) as door:
        assert (await door.ask("GET", "/api/openapi.json")).status == 401
        assert (await door.ask("GET", "/api/openapi.json", token="nch_shopper_secret")).status == 403
        assert (await door.ask("HEAD", "/api/openapi.json", token=ADMIN)).status == 200


async def test_the_verb_openapi_prints_the_same(document):
    done = CliRunner().invoke(nocohost, ["openapi"])
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    guests = ("/api/v1/resources/", "/api/v1/task", "/api/v1/workflow", "/api/v1/executions", "/api/v1/step-types")
    of_plugins = [path for path in printed["paths"] if path.startswith(guests)]
    assert {path: each for path, each in printed["paths"].items() if path not in of_plugins} == document["paths"]
    assert printed["components"]["schemas"].items() >= document["components"]["schemas"].items()


async def test_every_route_of_the_api_is_described_and_nothing_else(document):
    async with open_door() as door:
        gate = door.server._application[GATE]
        served = {
            (route.method, passage.path, passage.permission)
            for route, passage in gate._passages.items()
            if passage.path.startswith("/api/v1/") and route.method != "HEAD" and passage.handler is not refuse_unknown
        }
    described = {
        (method.upper(), path, operation["description"].split("`")[1])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described == served


async def test_it_is_openapi_3_1_without_loose_ends(document):
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for reference in set(text.split('"$ref": "')[1:]):
        assert reference.partition('"')[0].removeprefix("#/components/schemas/") in schemas
    identifiers = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(identifiers) == len(set(identifiers))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert {"401", "403", "503"} <= set(operation["responses"]), f"{method} {path}"
            assert operation["summary"]
            named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
    new = schemas["NewJob"]
    assert new["required"] == ["key", "payload"]
    assert new["additionalProperties"] is False


async def test_what_is_answered_fits_the_description(database):
    queue = JobQueue(database, lambda key: None, keys=["shop:mail"], external_keys=(), payload_bytes=1000)
    app = fake_app(database=database, queue=queue, serving=lambda key: False)
    async with database.begin() as connection:
        record = NodeRecord(new_id(), "left", "*", False, ["shop:mail"], "0.1.0", {})
        await register_node(connection, record, lease_seconds=60, state="serving")
    async with open_door(app=app, tokens=Tokens(**TOKENS)) as door:
        body = json.dumps({"key": "shop:mail", "payload": {}}).encode()
        job = (await door.ask("POST", "/api/v1/jobs", token=ADMIN, body=body)).json()
        node = (await door.ask("GET", "/api/v1/nodes", token=ADMIN)).json()["items"][0]
    for view, shown in ((JobView, job), (NodeView, node)):
        assert view.model_validate(shown)
        assert set(shown) == set(view.model_fields)
