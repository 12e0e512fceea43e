"""Payloads: checked against the job type on the node that receives them, and read back on the node that runs them."""

import json
from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from nocohost.api.errors import PayloadError, PayloadTooLargeError


def checked_payload(key: str, payload: Any, model: type[BaseModel] | None, limit_bytes: int) -> tuple[Any, bytes]:
    """Return the payload as the JSON value that is stored, and the SHA-256 of its canonical text.

    Raises ``PayloadError`` and ``PayloadTooLargeError``.
    """
    if isinstance(payload, BaseModel):
        value = _dumped(key, payload, model)
    elif isinstance(payload, Mapping):
        value = dict(payload)
    else:
        raise PayloadError(
            f"the payload of {key} is a {type(payload).__name__}",
            hint=f"give a JSON object{f' or a {model.__name__}' if model else ''}",
        )
    text = _canonical(f"the payload of {key}", value)
    if model is not None:
        value = _dumped(key, read_payload(key, text, model), model)
        text = _canonical(f"the payload of {key}", value)
    if len(text) > limit_bytes:
        raise PayloadTooLargeError(
            f"the payload of {key} has {len(text)} bytes, {limit_bytes} are accepted",
            hint="store the data in a table or file and enqueue its id",
        )
    return from_json(text), sha256(text).digest()


def read_payload(key: str, stored: Any, model: type[BaseModel] | None) -> Any:
    """Return a payload as its handler gets it: the model's instance, or a dict. Raises ``PayloadError``.

    ``stored`` is a JSON value, or JSON text as bytes.
    """
    if model is None:
        return from_json(stored) if isinstance(stored, bytes) else stored
    text = stored if isinstance(stored, bytes) else _canonical(f"the payload of {key}", stored)
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
    return None if value is None else from_json(_canonical(what, value))


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


def _canonical(what: str, value: Any) -> bytes:
    try:
        fault = _fault(value, "")
        if not fault:
            text = json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            encoded = text.encode()
            from_json(encoded)
            return encoded
    except RecursionError:
        fault = "nested too deeply"
    except (ValueError, TypeError) as error:  # a lone surrogate, a cycle, deeper than the reader goes, an odd mapping
        fault = str(error)
    raise PayloadError(f"{what} is not JSON: {fault}", faults=[fault])


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
