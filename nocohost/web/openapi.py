"""The API described as OpenAPI 3.1, from the same operations and models that serve it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nocohost.api.version import VERSION
from nocohost.web.gate import Gate
from nocohost.web.problems import CONTENT_TYPE, Problem

PATH = "/api/openapi.json"
REFERENCE = "#/components/schemas/{model}"
JSON = "application/json"
PATH_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "id": {"type": "string", "format": "uuid"},
    "name": {"type": "string"},
    "key": {"type": "string"},
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query or a header."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    place: str = "query"


@dataclass(frozen=True, slots=True)
class NamedSchema:
    """A JSON Schema that no model stands for, such as that of a plugin's table."""

    name: str
    schema: Mapping[str, Any]
    needs: Sequence["NamedSchema"] = ()
    """What it refers to."""


Shape = type[BaseModel] | NamedSchema | str
"""A model, a schema, or the media type of what has neither."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path of the API: how it is served, and how it is described."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    permission: str
    summary: str
    answers: Mapping[int, Shape | None]
    """By status; None for an answer without a body."""
    body: Shape | None = None
    bodies: Mapping[str, Shape | None] = field(default_factory=dict)
    """Where more than JSON is taken, by media type."""
    parameters: Sequence[Parameter] = ()
    problems: Sequence[int] = ()
    name: str = ""
    """Its name in the description, where the handler's own will not do."""


def add_operations(gate: Gate, operations: Sequence[Operation]) -> None:
    """Serve the operations, and their description under ``/api/openapi.json``; ``GET`` answers ``HEAD`` too.

    The description is written when it is first asked for: a start should not wait for it.
    """
    for operation in operations:
        methods = ["GET", "HEAD"] if operation.method == "GET" else [operation.method]
        gate.add(methods, operation.path, operation.handler, permission=operation.permission)
    written: list[dict[str, Any]] = []

    async def openapi(request: web.Request) -> web.Response:
        if not written:
            written.append(describe(operations))
        return web.json_response(written[0])

    gate.add(["GET", "HEAD"], PATH, openapi, permission="api.read")


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of the operations."""
    shapes = [shape for operation in operations for shape in _shapes(operation)]
    models = {Problem: None} | {shape: None for shape in shapes if isinstance(shape, type)}
    named = [each for shape in shapes if isinstance(shape, NamedSchema) for each in (shape, *shape.needs)]
    _, definitions = models_json_schema([(model, "serialization") for model in models], ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "nocohost", "version": VERSION, "description": "The API of a node that serves requests."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": definitions["$defs"] | {each.name: dict(each.schema) for each in named},
        },
    }


def _shapes(operation: Operation) -> list[Shape]:
    every = (*operation.answers.values(), operation.body, *operation.bodies.values())
    return [shape for shape in every if shape is not None]


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name or getattr(operation.handler, "__name__", ""),
        "summary": operation.summary,
        "description": f"Permission: `{operation.permission}`.",
        "responses": {
            **{str(status): _answer(status, shape) for status, shape in operation.answers.items()},
            **{str(status): _problem(status) for status in sorted({*operation.problems, 401, 403, 503})},
        },
    }
    parameters: list[dict[str, Any]] = [
        {"name": one.name, "in": one.place, "description": one.description, "schema": dict(one.schema)}
        | ({"required": True} if one.place == "path" else {})
        for one in operation.parameters
    ]
    described_already = {one.name for one in operation.parameters if one.place == "path"}
    for name, schema in PATH_PARAMETERS.items():
        if f"{{{name}}}" in operation.path and name not in described_already:
            parameters.append({"name": name, "in": "path", "required": True, "schema": dict(schema)})
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {"required": True, "content": {JSON: _schema(operation.body)}}
    elif operation.bodies:
        content = {
            media_type: {} if shape is None else _schema(shape) for media_type, shape in operation.bodies.items()
        }
        described["requestBody"] = {"required": True, "content": content}
    return described


def _answer(status: int, shape: Shape | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(shape, str):
        answer["content"] = {shape: _schema(shape)}
    elif shape is not None:
        answer["content"] = {JSON: _schema(shape)}
    if status in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
        answer["headers"] = {hdrs.LOCATION: {"schema": {"type": "string"}}}
    return answer


def _problem(status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": {CONTENT_TYPE: _schema(Problem)}}


def _schema(shape: Shape) -> dict[str, Any]:
    if isinstance(shape, str):
        return {"schema": {"type": "string"}}
    name = shape.name if isinstance(shape, NamedSchema) else shape.__name__
    return {"schema": {"$ref": REFERENCE.format(model=name)}}
