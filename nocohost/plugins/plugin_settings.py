"""Settings that plugins declare: read from the raw strings of the environment, checked all at once, frozen."""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType, new_class
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from nocohost.api.keys import nearest
from nocohost.node.plugin_name import plugin_slug


def read_settings(
    plugin: str,
    model: type[BaseModel],
    raw: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, str] = MappingProxyType({}),
) -> tuple[BaseModel | None, tuple[str, ...], tuple[str, ...]]:
    """Return the frozen instance of ``model`` (None when it has faults), the faults, and notices of unknown fields.

    ``raw`` holds what every plugin is given: strings of the environment, or values of a file. A field that takes a
    list or an object reads its string as JSON. The faults never repeat the value: it may be a secret.
    ``files`` tells, by ``plugins.<plugin>.<field>``, what a file gave: faults then name the key and that file.
    """
    given = _of_plugin(plugin, raw)
    fields = {name.lower(): name for name in model.model_fields}
    fields |= {info.alias.lower(): info.alias for info in model.model_fields.values() if info.alias}
    values = {fields[name.lower()]: text for name, text in given.items() if name.lower() in fields}
    notices = tuple(_unknown(plugin, name, fields, files) for name in given if name.lower() not in fields)
    frozen = _frozen(model)
    try:
        return frozen.model_validate(values), (), notices
    except ValidationError as error:
        decoded = _decoded(values, error)
    try:
        return frozen.model_validate(decoded), (), notices
    except ValidationError as error:
        return None, tuple(_fault(plugin, detail, files) for detail in error.errors(include_input=False)), notices


def unknown_plugins(
    raw: Mapping[str, Mapping[str, Any]], plugins: Iterable[str], files: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, ...]:
    """Return a notice for each plugin that is given settings but declares none, or is not installed."""
    known = {plugin_slug(name) for name in plugins}
    notices = []
    for name, given in raw.items():
        if plugin_slug(name) not in known:
            suggestion = nearest(plugin_slug(name), known)
            file = next((file for option in given if (file := _file(name, option, files))), "")
            where = f"[plugins.{name}] ({file})" if file else f"{_variable(name, '')}*"
            meant = f"[plugins.{suggestion}]" if file else _variable(suggestion, "")
            hint = f"; did you mean {meant}?" if suggestion else ""
            notices.append(f"{where}: no installed plugin {name} declares settings{hint}")
    return tuple(notices)


def _of_plugin(plugin: str, raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    wanted = plugin_slug(plugin)
    return {name: text for owner, given in raw.items() if plugin_slug(owner) == wanted for name, text in given.items()}


def _frozen(model: type[BaseModel]) -> type[BaseModel]:
    """Return ``model``, or a subclass whose instances cannot be changed."""
    if model.model_config.get("frozen"):
        return model
    body = {"model_config": ConfigDict(frozen=True), "__module__": model.__module__, "__doc__": model.__doc__}
    return cast("type[BaseModel]", new_class(model.__name__, (model,), exec_body=lambda space: space.update(body)))


def _decoded(values: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return the values, with those that did not fit as text read as JSON where they are a list or an object."""
    decoded: dict[str, Any] = dict(values)
    for detail in error.errors(include_input=False, include_url=False):
        name = str(detail["loc"][0]) if detail["loc"] else ""
        try:
            value = json.loads(values.get(name, ""))
        except (TypeError, ValueError):
            continue
        if isinstance(value, list | dict):
            decoded[name] = value
    return decoded


def _fault(plugin: str, detail: ErrorDetails, files: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    return f"{_place(plugin, name, files)}: {detail['msg']}"


def _unknown(plugin: str, name: str, fields: Mapping[str, str], files: Mapping[str, str]) -> str:
    suggestion = nearest(name.lower(), fields)
    meant = _key(plugin, suggestion) if _file(plugin, name, files) else _variable(plugin, suggestion)
    hint = f"; did you mean {meant}?" if suggestion else ""
    return f"{_place(plugin, name, files)}: the plugin {plugin} has no such setting{hint}"


def _place(plugin: str, name: str, files: Mapping[str, str]) -> str:
    """Return how the operator knows a setting: by its key and its file if one gave it, else by its variable."""
    file = _file(plugin, name, files)
    return f"{_key(plugin, name)} ({file})" if file else _variable(plugin, name)


def _file(plugin: str, name: str, files: Mapping[str, str]) -> str:
    return files.get(_key(plugin, name.partition(".")[0].lower()), "")


def _key(plugin: str, name: str) -> str:
    return f"plugins.{plugin_slug(plugin)}.{name}"


def _variable(plugin: str, name: str) -> str:
    return f"NOCOHOST_PLUGINS__{plugin_slug(plugin).upper()}__{name.upper()}"
