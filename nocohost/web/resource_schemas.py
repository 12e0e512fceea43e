"""The fields of a resource as JSON Schema, for the description of the API."""

from collections.abc import Callable, Mapping
from typing import Any

from nocohost.api.field import Field, Kind
from nocohost.api.filter import Operator, operators_of
from nocohost.api.resource import Resource

Schema = dict[str, Any]

TYPES: Mapping[Kind, Callable[[Field], Schema]] = {
    Kind.INTEGER: lambda field: {
        "type": "integer",
        "minimum": -(1 << (field.bits - 1)),
        "maximum": (1 << (field.bits - 1)) - 1,
    },
    Kind.FLOAT: lambda field: {"type": "number"},
    Kind.DECIMAL: lambda field: {"type": "string", "pattern": r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$"},
    Kind.BOOLEAN: lambda field: {"type": "boolean"},
    Kind.TEXT: lambda field: {"type": "string", **({} if field.length is None else {"maxLength": field.length})},
    Kind.CHOICE: lambda field: {"type": "string", "enum": list(field.choices)},
    Kind.INSTANT: lambda field: {"type": "string", "format": "date-time"},
    Kind.DATE: lambda field: {"type": "string", "format": "date"},
    Kind.TIME: lambda field: {"type": "string", "format": "time"},
    Kind.UUID: lambda field: {"type": "string", "format": "uuid"},
    Kind.JSON: lambda field: {},
    Kind.BINARY: lambda field: {"type": "string", "contentEncoding": "base64"},
}


def value_schema(field: Field) -> Schema:
    """Return the schema of one value, null left aside."""
    return TYPES[field.kind](field)


def field_schema(field: Field) -> Schema:
    """Return the schema of a field, null included where it may be."""
    schema = value_schema(field)
    if field.nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if field.title:
        schema["title"] = field.title
    return schema


def record_schema(resource: Resource) -> Schema:
    """Return the schema of a record as it is answered; ``fields`` may leave out any of it."""
    return {
        "type": "object",
        "title": resource.title or resource.name,
        "properties": {name: field_schema(field) for name, field in resource.fields.items()},
        "additionalProperties": False,
    }


def page_schema(resource: Resource, reference: str) -> Schema:
    """Return the schema of a page of records."""
    return {
        "type": "object",
        "title": f"{resource.title or resource.name}: some of them",
        "properties": {
            "items": {"type": "array", "items": {"$ref": reference}},
            "next": {"type": ["string", "null"], "description": "give it as after; null on the last page"},
        },
        "required": ["items", "next"],
        "additionalProperties": False,
    }


def new_schema(resource: Resource) -> Schema:
    """Return the schema of the body that creates a record."""
    fields = [field for field in resource.fields.values() if not field.is_computed]
    return {
        "type": "object",
        "properties": {field.name: field_schema(field) for field in fields},
        "required": [field.name for field in fields if field.is_required],
        "additionalProperties": False,
    }


def changes_schema(resource: Resource) -> Schema:
    """Return the schema of the body that changes a record."""
    fields = [field for field in resource.fields.values() if not (field.is_computed or field.is_key)]
    return {
        "type": "object",
        "properties": {field.name: field_schema(field) for field in fields},
        "additionalProperties": False,
    }


def resource_json(resource: Resource) -> dict[str, Any]:
    """Return what a resource is, for whoever builds a form or a filter on it."""
    return {
        "name": resource.name,
        "title": resource.title,
        "key": [field.name for field in resource.key],
        "read": resource.read,
        "write": resource.write,
        "fields": [_field_json(field) for field in resource.fields.values()],
    }


def _field_json(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "title": field.title,
        "kind": field.kind.value,
        "nullable": field.nullable,
        "required": field.is_required,
        "computed": field.is_computed,
        "length": field.length,
        "scale": field.scale,
        "choices": list(field.choices),
        "operators": [Operator(one).value for one in operators_of(field)],
    }
