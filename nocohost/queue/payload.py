"""Payloads: checked against the job type on the node that receives them, and read back on the node that runs them."""

import json
from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from nocohost.api.errors import PayloadError, PayloadTooLargeError

CANONICAL = json.JSONEncoder(allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def checked_payload(key: str, payload: Any, model: type[BaseModel] | None, limit_bytes: int) -> tuple[str, Any]:
    """Return the payload as the JSON text that is stored, and as its handler will get it.

    Raises ``PayloadError`` and ``PayloadTooLargeError``.
    """
    if isinstance(payload, BaseModel):
        value = _dumped(key, payload, model)
    elif isinstance(payload, dict):
        value = payload
    elif isinstance(payload, Mapping):
        value = dict(payload)
    else:
        raise PayloadError(
            f"the payload of {key} is a {type(payload).__name__}",
            hint=f"give a JSON object{f' or a {model.__name__}' if model else ''}",
        )
    what = f"the payload of {key}"
    text, seen = _strict(what, value)
    if model is not None:
        seen = read_payload(key, text.encode(), model)
        text = json_text(what, _dumped(key, seen, model))
    # Every character has at least one byte: most texts need not be encoded to see that they are short enough.
    if len(text) * 4 > limit_bytes and len(text.encode()) > limit_bytes:
        raise PayloadTooLargeError(
            f"the payload of {key} has {len(text.encode())} bytes, {limit_bytes} are accepted",
            hint="store the data in a table or file and enqueue its id",
        )
    return text, seen


def digest_of(text: str) -> bytes:
    """Return the SHA-256 of the canonical form of JSON text: its keys are sorted."""
    return sha256(CANONICAL.encode(from_json(text)).encode()).digest()


def read_payload(key: str, stored: Any, model: type[BaseModel] | None) -> Any:
    """Return a payload as its handler gets it: the model's instance, or a dict. Raises ``PayloadError``.

    ``stored`` is a JSON value, or JSON text as bytes.
    """
    if model is None:
        return from_json(stored) if isinstance(stored, bytes) else stored
    text = stored if isinstance(stored, bytes) else json_text(f"the payload of {key}", stored).encode()
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'payload'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise PayloadError(
            f"the payload does not fit {key}: {'; '.join(faults)}", hint=f"see {model.__name__}", faults=faults
        ) from error


def json_value(what: str, value: Any) -> Any:
    """Return ``value`` as strict JSON gives it back; raises ``PayloadError`` naming ``what`` and the place at fault."""
    return None if value is None else _strict(what, value)[1]


def json_text(what: str, value: Any) -> str:
    """Return ``value`` as strict JSON text; raises ``PayloadError`` naming ``what`` and the place at fault."""
    return _strict(what, value)[0]


def _strict(what: str, value: Any) -> tuple[str, Any]:
    """Return ``value`` as strict JSON text, and as that gives it back; raises as ``json_text`` does."""
    try:
        text = to_json(value, inf_nan_mode="constants")
        # What JSON does not give back as it was, such as a key that is a number, is looked at closely.
        back = from_json(text, allow_inf_nan=False)
        fault = "" if back == value else _fault(value, "")
        if not fault:
            return text.decode(), back
    except RecursionError:
        fault = "nested too deeply"
    except (ValueError, TypeError) as error:  # a lone surrogate, a cycle, deeper than the reader goes, an odd mapping
        fault = _named(value) or str(error)
    raise PayloadError(f"{what} is not JSON: {fault}", faults=[fault])


def _dumped(key: str, payload: BaseModel, model: type[BaseModel] | None) -> Any:
    if model is not None and not isinstance(payload, model):
        raise PayloadError(
            f"the payload of {key} is a {type(payload).__name__}", hint=f"give a {model.__name__} or a JSON object"
        )
    fault = _fault(payload.model_dump(by_alias=True), "", strict=False)
    if fault:
        raise PayloadError(f"the payload of {key} is not JSON: {fault}", faults=[fault])
    try:
        return payload.model_dump(mode="json", by_alias=True)
    except ValueError as error:  # pydantic's serialization error is one
        raise PayloadError(f"the payload of {key} is not JSON: {error}") from error


def _named(value: Any) -> str:
    """Return the place at fault, or the empty string when it cannot be found."""
    try:
        return _fault(value, "")
    except RecursionError:
        return "nested too deeply"


def _fault(value: Any, place: str, *, strict: bool = True) -> str:
    """Return where and why ``value`` is not strict JSON, or the empty string; not ``strict``: only its numbers."""
    here = place or "the whole"
    if isinstance(value, float):
        return "" if isfinite(value) else f"{here} is {value}, which JSON does not know"
    if value is None or isinstance(value, str | int):
        return ""
    if isinstance(value, Mapping):
        for name, member in value.items():
            if strict and not isinstance(name, str):
                return f"{here} has the key {name!r}; keys are strings"
            fault = _fault(member, f"{place}.{name}".lstrip("."), strict=strict)
            if fault:
                return fault
        return ""
    if isinstance(value, list | tuple):
        faults = (_fault(member, f"{place}[{index}]", strict=strict) for index, member in enumerate(value))
        return next(filter(None, faults), "")
    return f"{here} is a {type(value).__name__}" if strict else ""
