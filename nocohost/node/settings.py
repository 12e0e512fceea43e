"""Every setting of a node: its type, its default and what it means; and how they are read into one frozen value.

A flag is stronger than the environment, the environment than the TOML file, the file than the default. Nothing but
``load_settings`` reads the environment, and whoever starts a process passes it in.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from nocohost.api.errors import SettingError
from nocohost.node.mode import ParsedMode, parse_mode
from nocohost.node.secrecy import HIDDEN, without_password
from nocohost.node.setting_models import AdminSettings as AdminSettings
from nocohost.node.setting_models import DatabaseSettings as DatabaseSettings
from nocohost.node.setting_models import HttpSettings as HttpSettings
from nocohost.node.setting_models import LogSettings as LogSettings
from nocohost.node.setting_models import QueueSettings as QueueSettings
from nocohost.node.setting_models import Settings as Settings
from nocohost.node.setting_models import Timing as Timing
from nocohost.node.sources import CONFIG, PLUGINS, Given, Reading, read_environment, read_flags, read_toml, variable_of
from nocohost.node.terms import quoted

DEFAULT_FILE = Path("nocohost.toml")
"""Read when it lies in the current directory and nothing names another."""
SHORTEST_TOKEN = 16


class Setting(NamedTuple):
    """One setting as documentation and ``config show`` present it."""

    name: str
    variable: str
    default: Any
    meaning: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings of a node, where each came from, and what was not understood."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted name -> variable, ``flag``, path of the TOML file, or ``default``."""
    warnings: tuple[str, ...] = ()

    def shown(self, name: str) -> Any:
        """Return the value of a setting of nocohost's own as people may see it: secrets hidden, passwords in URLs too.

        The URL of the database is the one that is used, even when none is set.
        """
        value: Any = self.settings
        if name == "database.url":
            return without_password(self.settings.database_url)
        for part in name.split("."):
            value = getattr(value, part)
        if isinstance(value, SecretStr):
            return HIDDEN
        if isinstance(value, str):
            return without_password(value)
        return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def declared_settings() -> Iterator[Setting]:
    """Yield every setting of nocohost itself, in the order of the reference."""
    yield from _leaves(Settings, "")


def load_settings(
    environ: Mapping[str, str], *, flags: Mapping[str, object] = MappingProxyType({}), file: Path | None = None
) -> LoadedSettings:
    """Read all sources, check everything, and return the frozen settings.

    ``flags`` are dotted names (``http.port``); None is a flag that was not given. ``file`` is the TOML file; otherwise
    ``NOCOHOST_CONFIG`` names it, and without that ``nocohost.toml`` in the current directory is read if it is there.
    Raises ``SettingError`` whose ``faults`` list everything that is wrong, not only what was found first.
    """
    loaded, faults = judge_settings(environ, flags=flags, file=file)
    if faults:
        raise SettingError(
            faults[0] if len(faults) == 1 else f"{len(faults)} settings are wrong: {'; '.join(faults)}",
            hint="see: nocohost config check",
            faults=faults,
        )
    return loaded


def judge_settings(
    environ: Mapping[str, str], *, flags: Mapping[str, object] = MappingProxyType({}), file: Path | None = None
) -> tuple[LoadedSettings, Sequence[str]]:
    """Return the settings and what is wrong with them, so that the rest can be judged too.

    A setting at fault has its default; see ``load_settings`` for the arguments. Never raises.
    """
    reading = Reading()
    names = frozenset(setting.name for setting in declared_settings())
    read_flags(reading, names, flags)
    read_environment(reading, names, environ)
    if named := file or (environ.get(CONFIG) and Path(environ[CONFIG])) or (DEFAULT_FILE.is_file() and DEFAULT_FILE):
        read_toml(reading, names, named)
    faults = [*reading.faults]
    try:
        settings = Settings.model_validate(_nested(reading.given))
    except ValidationError as error:
        faults += _faults(error, reading.given)
        settings = _sound_part(error, reading)
    settings.note_plugin_files(
        {
            name: given.origin
            for name, given in reading.given.items()
            if name.startswith("plugins.") and not given.origin.startswith(PLUGINS)
        }
    )
    origins = dict.fromkeys(sorted(names), "default") | {name: given.origin for name, given in reading.given.items()}
    loaded = LoadedSettings(settings, MappingProxyType(origins), (*reading.warnings, *_weaknesses(settings)))
    return loaded, faults


def _sound_part(error: ValidationError, reading: Reading) -> Settings:
    """Forget what is at fault, and return the settings that are left."""
    for fault in error.errors(include_url=False, include_input=False):
        reading.given.pop(_given_name(fault["loc"], reading.given), None)
    try:
        return Settings.model_validate(_nested(reading.given))
    except ValidationError:  # the fault is not where somebody wrote something
        reading.given.clear()
        return Settings()


def _given_name(place: Sequence[object], given: Mapping[str, Given]) -> str:
    """Return the dotted name of the setting at ``place``; the longest that somebody gave."""
    path = [str(part) for part in place]
    ends = (".".join(path[:end]) for end in range(len(path), 0, -1))
    return next((name for name in ends if name in given), ".".join(path))


def read_mode(settings: Settings, declared: Collection[str]) -> ParsedMode:
    """Read the worker mode that the settings hold, against the ``declared`` keys; raises ``WorkerModeError``."""
    return parse_mode(
        settings.worker_mode, declared=declared, external=settings.external_keys, required=settings.require_mode
    )


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, f"{name}.")
        elif name != "plugins":
            dotted = prefix + name
            yield Setting(dotted, variable_of(dotted), _default(field), field.description or "", _is_secret(field))


def _default(field: FieldInfo) -> Any:
    return None if field.default_factory else field.default


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation == SecretStr | None


def _nested(given: Mapping[str, Given]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in given.items():
        *tables, leaf = name.split(".", maxsplit=2)
        table = nested
        for part in tables:
            table = table.setdefault(part, {})
        table[leaf] = value.value
    return nested


def _faults(error: ValidationError, given: Mapping[str, Given]) -> Iterator[str]:
    """Yield one line for each fault: where the value was written, the value unless it is secret, what it should be."""
    secret = {setting.name for setting in declared_settings() if setting.is_secret}
    for fault in error.errors(include_url=False, include_input=False):
        name = _given_name(fault["loc"], given)
        reason = fault["msg"].removeprefix("Value error, ").partition(", unable to")[0]
        reason = reason.replace("Input should be", "should be")
        source = given.get(name, Given("", name))
        where = source.origin if source.origin == variable_of(name) else f"{name} ({source.origin})"
        is_told = name not in secret and not (name == "database.url" and _is_misspelt_url(str(source.value)))
        value = f" {quoted(without_password(str(source.value)))}" if is_told else ""
        yield f"{where}:{value} {reason}"


def _is_misspelt_url(text: str) -> bool:
    """Tell whether a text is no URL, but may hold a password: nobody knows where that begins."""
    return "@" in text and "://" not in text


def _weaknesses(settings: Settings) -> Iterator[str]:
    if settings.admin_token and len(settings.admin_token.get_secret_value()) < SHORTEST_TOKEN:
        yield f"NOCOHOST_ADMIN_TOKEN is short enough to be guessed; use {SHORTEST_TOKEN} random characters or more"
