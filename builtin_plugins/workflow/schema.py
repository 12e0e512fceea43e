"""The JSON Schema of a definition, made of the forms of steps."""

from collections.abc import Mapping
from typing import Any

from builtin_plugins.workflow.form import StepForm
from builtin_plugins.workflow.outline import TRIGGERS, DefinitionFields, StepFields

EXPRESSION: Mapping[str, Any] = {"type": "string", "pattern": "^= ", "description": "an expression"}
BLOCK: Mapping[str, Any] = {"type": "array", "items": {"$ref": "#/$defs/step"}}
BLOCKS: Mapping[str, Mapping[str, Any]] = {
    "condition": {"then": BLOCK, "else": BLOCK},
    "loop": {"do": BLOCK},
    "parallel": {"branches": {"type": "array", "minItems": 1, "items": BLOCK}},
    "switch": {
        "cases": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"equals": {}, "do": BLOCK},
                "required": ["equals", "do"],
                "additionalProperties": False,
            },
        },
        "default": BLOCK,
    },
}
REQUIRED: Mapping[str, tuple[str, ...]] = {"parallel": ("branches",), "switch": ("cases",)}


def definition_schema(forms: Mapping[str, StepForm]) -> dict[str, Any]:
    """Return the schema: what fits it may still be refused, for names that are unknown or given twice."""
    defs: dict[str, Any] = {}
    outline = _taken(DefinitionFields.model_json_schema(), defs)
    outline["properties"]["trigger"] = {"oneOf": [_taken(one.model_json_schema(), defs) for one in TRIGGERS.values()]}
    outline["properties"]["steps"] = BLOCK
    common = _taken(StepFields.model_json_schema(), defs)["properties"]
    common["on_error"] = {"anyOf": [{"enum": ["fail", "continue"]}, BLOCK]}
    defs["step"] = {"oneOf": [_step(form, common, defs) for _, form in sorted(forms.items())]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **outline, "title": "Workflow", "$defs": defs}


def _step(form: StepForm, common: Mapping[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    own = _taken(form.params.model_json_schema(), defs)
    fields = {name: {"anyOf": [one, EXPRESSION]} for name, one in own.get("properties", {}).items()}
    return {
        "title": form.title,
        "type": "object",
        "properties": {**common, "type": {"const": form.type}, **fields, **BLOCKS.get(form.type, {})},
        "required": ["key", "type", *own.get("required", []), *REQUIRED.get(form.type, ())],
        "additionalProperties": False,
    }


def _taken(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without its definitions, which go to those of the whole."""
    defs.update(schema.pop("$defs", {}))
    return schema
