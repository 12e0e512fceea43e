"""``nocohost config``: the settings of a node that would start here, and whether it would."""

import io
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nocohost.api.errors import SettingError, WorkerModeError
from nocohost.cli.output import PROBLEMS_FOUND, json_option, printable, show_json, show_table
from nocohost.cli.verbs import Verbs
from nocohost.host.log import make_log
from nocohost.node.mode import VARIABLE
from nocohost.node.plugin_name import plugin_slug
from nocohost.node.secrecy import HIDDEN, names_a_secret, without_password
from nocohost.node.settings import (
    LoadedSettings,
    Settings,
    declared_settings,
    judge_settings,
    load_settings,
    read_mode,
)
from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.declarations import load_declarations
from nocohost.plugins.drafts import read_drafts
from nocohost.plugins.loading import Loader

PLAIN = (str, int, float, bool, Decimal, Path, type(None))
"""Types whose values hold no secret unless their name says so."""

file_option = click.option(
    "--config", "file", type=click.Path(path_type=Path), help="TOML file with settings, as for a node."
)
"""The option ``--config``; the verb receives ``file``."""


@click.group(cls=Verbs)
def config() -> None:
    """Show or check the settings of a node that would start here."""


@config.command()
@file_option
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """Print every setting, its value and where it comes from; secrets are hidden."""
    loaded = load_settings(os.environ, file=file)
    rows = [*_own(loaded), *_of_plugins(loaded)]
    for warning in loaded.warnings:
        click.echo(printable(f"warning: {warning}"), err=True)
    if as_json:
        show_json([dict(zip(("name", "variable", "value", "origin"), row, strict=True)) for row in rows])
    else:
        show_table(["setting", "value", "origin"], [(name, _text(value), origin) for name, _, value, origin in rows])


@config.command()
@file_option
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path | None, as_json: bool) -> None:
    """Check the settings, those of plugins and the worker mode; exit 3 and list everything that is wrong."""
    faults, warnings = _check(file)
    if as_json:
        show_json({"faults": [{"code": code, "message": message} for code, message in faults], "warnings": warnings})
    else:
        for line in [*(f"error    {message}" for _, message in faults), *(f"warning  {text}" for text in warnings)]:
            click.echo(printable(line))
        click.echo("problems found" if faults else "ok")
    if faults:
        ctx.exit(PROBLEMS_FOUND)


def _check(file: Path | None) -> tuple[list[tuple[str, str]], list[str]]:
    loaded, wrong = judge_settings(os.environ, file=file)
    faults, warnings, settings = [(SettingError.code, fault) for fault in wrong], [*loaded.warnings], loaded.settings
    catalogue = read_catalogue()
    try:
        notices = read_mode(settings, catalogue.declared_keys).notices
        warnings += [f"{VARIABLE}: {notice}" for notice in notices]
    except WorkerModeError as error:
        faults.append((error.code, str(error)))
    declarations = load_declarations(
        catalogue,
        import_seconds=settings.import_seconds,
        plugin_settings=settings.plugins,
        plugin_files=settings.plugin_files,
        log=make_log(io.StringIO()),  # what it would log is reported here
    )
    faults += [(SettingError.code, fault) for fault in declarations.setting_faults]
    warnings += declarations.notices
    warnings += [f"{entry} is {verdict.state}: {verdict.reason}" for entry, verdict in declarations.failures.items()]
    return faults, warnings


def _own(loaded: LoadedSettings) -> Iterator[tuple[str, str, Any, str]]:
    for setting in declared_settings():
        yield setting.name, setting.variable, loaded.shown(setting.name), loaded.origins[setting.name]


def _of_plugins(loaded: LoadedSettings) -> Iterator[tuple[str, str, Any, str]]:
    """Yield every setting that a plugin declares or is given."""
    models, given = _models(loaded.settings), loaded.settings.plugins
    for plugin in sorted({*models, *given}):
        model, options = models.get(plugin), given.get(plugin, {})
        defaults = dict(_defaults(model)) if model is not None else {}
        for option in sorted({*defaults, *options}):
            name = f"plugins.{plugin}.{option}"
            value = str(options[option]) if option in options else defaults[option]
            if value is not None:
                shown = without_password(value) if isinstance(value, str) else value
                value = shown if _is_plain(model, option) else HIDDEN
            origin = loaded.origins.get(name, "default")
            yield name, f"NOCOHOST_PLUGINS__{plugin.upper()}__{option.upper()}", value, origin


def _defaults(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Yield each field of a plugin's settings and its default: None when there is none, or is only made at start."""
    for name, field in _fields(model).items():
        value = None if field.is_required() or field.default_factory else field.default
        if isinstance(value, list | tuple | set | frozenset):
            value = [str(item) for item in value]
        yield name, value if isinstance(value, str | int | float | list | None) else str(value)


def _fields(model: type[BaseModel] | None) -> Mapping[str, FieldInfo]:
    return {(field.alias or name).lower(): field for name, field in (model.model_fields if model else {}).items()}


def _models(settings: Settings) -> Mapping[str, type[BaseModel]]:
    catalogue = read_catalogue()
    drafts = read_drafts(catalogue, Loader(catalogue, settings.import_seconds))
    return {plugin_slug(draft.plugin): draft.model for draft in drafts if draft.model is not None}


def _is_plain(model: type[BaseModel] | None, option: str) -> bool:
    """Tell whether a plugin declares the setting, and as something that is no secret; unknown ones stay hidden."""
    field = _fields(model).get(option.lower())
    leaves = _leaves(field.annotation if field else object)
    return not names_a_secret(option) and all(leaf in PLAIN or issubclass(leaf, Enum) for leaf in leaves)


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types that a union or a container of values is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _leaves(type(argument) if isinstance(argument, str | int | bool) else argument)


def _text(value: Any) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
