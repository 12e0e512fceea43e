"""``/api/v1/resources``: the records of every declared resource, each under the permissions of its own."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web
from pydantic_core import to_json

from nocohost.api.errors import RecordNotFoundError, ResourceNotFoundError, ResourceQueryError
from nocohost.api.field import Field, Kind
from nocohost.api.keys import nearest
from nocohost.api.resource import Resource
from nocohost.web.json_body import JsonError, read_object, strict_loads
from nocohost.web.keys import APP, PRINCIPAL
from nocohost.web.openapi import REFERENCE, NamedSchema, Operation, Parameter
from nocohost.web.problems import RequestRefusedError
from nocohost.web.query import MAX_PAGE_ITEMS, page_items, read_query
from nocohost.web.resource_schemas import (
    changes_schema,
    new_schema,
    page_schema,
    record_schema,
    resource_json,
    value_schema,
)
from nocohost.web.views import ResourcePageView

PATH = "/api/v1/resources"
LIST_PARAMETERS = ("filter", "sort", "fields", "limit", "after")
ONE_PARAMETERS = ("fields",)
MAX_DIGITS = 40
READ = (400, 404)
WRITE = (400, 409, 413, 415, 422)
CHANGE = (400, 404, 409, 413, 415, 422)
REMOVE = (400, 404, 409)


def resource_operations(declared: Mapping[str, Resource]) -> list[Operation]:
    """Return what can be done with the declared resources."""
    about = Operation(
        "GET",
        PATH,
        show_resources,
        "api.read",
        "List the resources that the caller may read, with their fields",
        {200: ResourcePageView},
        problems=(400,),
    )
    operations = [operation for resource in declared.values() for operation in _operations_of(resource)]
    return [about, *operations]


def _operations_of(resource: Resource) -> list[Operation]:
    name = resource.name
    every, one = f"{PATH}/{name}", f"{PATH}/{name}/{'/'.join(f'{{{variable}}}' for variable in _variables(resource))}"
    record = NamedSchema(name, record_schema(resource))
    page = NamedSchema(f"{name}.page", page_schema(resource, REFERENCE.format(model=name)), needs=(record,))
    new = NamedSchema(f"{name}.new", new_schema(resource))
    changes = NamedSchema(f"{name}.changes", changes_schema(resource))
    title = resource.title or name
    key = _key_parameters(resource)
    fields = Parameter("fields", "only these fields, with commas")
    paging: Sequence[Parameter] = (
        Parameter("filter", 'which records, as JSON: {"total": {"gt": 100}}', {"type": "string"}),
        Parameter("sort", "fields with commas, - before one for the greatest first"),
        fields,
        Parameter("limit", "records on a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS}),
        Parameter("after", "next of the page before, with the same filter and sort"),
    )
    operations = (
        ("GET", every, list_records, resource.read, f"{title}: list records", {200: page}, None, paging, (400,)),
        ("POST", every, create_record, resource.write, f"{title}: create a record", {201: record}, new, (), WRITE),
        (
            "GET",
            one,
            show_record,
            resource.read,
            f"{title}: show one record",
            {200: record},
            None,
            (*key, fields),
            READ,
        ),
        ("PATCH", one, change_record, resource.write, f"{title}: change a record", {200: record}, changes, key, CHANGE),
        ("DELETE", one, delete_record, resource.write, f"{title}: delete a record", {204: None}, None, key, REMOVE),
    )
    return [
        Operation(
            method,
            path,
            partial(handler, resource=resource),
            permission,
            summary,
            answers,
            body=body,
            parameters=parameters,
            problems=problems,
            name=f"{handler.__name__}_{name.replace('.', '_').replace('-', '_')}",
        )
        for method, path, handler, permission, summary, answers, body, parameters, problems in operations
    ]


async def show_resources(request: web.Request) -> web.Response:
    """List the resources that the caller may read."""
    read_query(request, ())
    principal = request[PRINCIPAL]
    declared = request.app[APP].resources.declared
    items = [resource_json(one) for one in declared.values() if principal.may(one.read)]
    return web.json_response({"items": items, "next": None})


async def list_records(request: web.Request, *, resource: Resource) -> web.Response:
    """List some records."""
    query = read_query(request, LIST_PARAMETERS)
    page = await request.app[APP].resources.list(
        resource.name,
        filter=_filter(query.get("filter")),
        sort=query.get("sort"),
        fields=query.get("fields"),
        limit=page_items(query.get("limit")),
        after=query.get("after"),
    )
    return _answer({"items": [resource.show(record) for record in page.items], "next": page.next})


async def show_record(request: web.Request, *, resource: Resource) -> web.Response:
    """Show one record."""
    query = read_query(request, ONE_PARAMETERS)
    record = await request.app[APP].resources.get(resource.name, _key(request, resource), fields=query.get("fields"))
    return _answer(resource.show(record))


async def create_record(request: web.Request, *, resource: Resource) -> web.Response:
    """Create a record: 201 with it and its ``Location``."""
    read_query(request, ())
    record = await request.app[APP].resources.create(resource.name, await read_object(request))
    shown = resource.show(record)
    parts = [quote(_segment(shown[field.name]), safe="") for field in resource.key]
    return _answer(shown, status=201, headers={hdrs.LOCATION: "/".join([PATH, resource.name, *parts])})


async def change_record(request: web.Request, *, resource: Resource) -> web.Response:
    """Change some fields of a record."""
    read_query(request, ())
    changes = await read_object(request)
    record = await request.app[APP].resources.update(resource.name, _key(request, resource), changes)
    return _answer(resource.show(record))


async def delete_record(request: web.Request, *, resource: Resource) -> web.Response:
    """Delete a record."""
    read_query(request, ())
    await request.app[APP].resources.delete(resource.name, _key(request, resource))
    return web.Response(status=204)


async def refuse_unknown(request: web.Request) -> web.StreamResponse:
    """Raise 404 for a resource that nobody declares, and 405 or 404 for what a declared one does not have."""
    name = request.match_info["name"]
    resource = request.app[APP].resources.declared.get(name)
    if resource is None:
        meant = nearest(name[:200], request.app[APP].resources.declared)
        raise ResourceNotFoundError(
            f"no installed plugin declares the resource {name[:200]!r}",
            hint=f"did you mean {meant!r}?" if meant else f"see: {PATH}",
        )
    key = request.match_info.get("key")
    if key is not None and key.count("/") + 1 != len(resource.key):
        raise RecordNotFoundError(f"there is no {name} {key[:100]!r}")
    allowed = "GET, HEAD, POST" if key is None else "DELETE, GET, HEAD, PATCH"
    raise RequestRefusedError(405, f"{request.method} is not allowed here.", headers={hdrs.ALLOW: allowed})


def _filter(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return strict_loads(text.encode())
    except (JsonError, UnicodeEncodeError) as error:
        fault = str(error).removeprefix("The body is not JSON: ")
        raise ResourceQueryError(
            f"the filter is not JSON: {fault}", hint='such as {"total": {"gt": 100}}', faults=[f"filter: {fault}"]
        ) from error


def _variables(resource: Resource) -> list[str]:
    names = [field.name for field in resource.key]
    if all(name.isidentifier() and name.isascii() for name in names):
        return names
    return [f"key{place}" for place in range(1, len(names) + 1)]


def _key_parameters(resource: Resource) -> list[Parameter]:
    return [
        Parameter(variable, f"{field.title or field.name} of the record", value_schema(field), "path")
        for variable, field in zip(_variables(resource), resource.key, strict=True)
    ]


def _key(request: web.Request, resource: Resource) -> tuple[Any, ...]:
    variables = _variables(resource)
    return tuple(_read(field, request.match_info[name]) for field, name in zip(resource.key, variables, strict=True))


def _read(field: Field, text: str) -> Any:
    """Return a part of the path as JSON has it; what cannot be one stays a text, which no record has."""
    if field.kind in (Kind.INTEGER, Kind.FLOAT):
        try:
            return int(text) if field.kind is Kind.INTEGER and len(text) <= MAX_DIGITS else float(text)
        except ValueError:
            return text
    if field.kind is Kind.BOOLEAN:
        return {"true": True, "false": False}.get(text, text)
    return text


def _segment(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=to_json(value), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )
