"""Where settings are read: flags, environment variables, the files these name, and a TOML file.

Nothing here knows what a setting means. Whatever cannot be read is a fault, whatever is not understood a warning; both
are collected, so that an operator mends everything at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nocohost.api.keys import nearest
from nocohost.node.mode import VARIABLE, misspells_worker_mode
from nocohost.node.plugin_name import plugin_slug

PREFIX = "NOCOHOST_"
PLUGINS = f"{PREFIX}PLUGINS__"
CONFIG = f"{PREFIX}CONFIG"
"""Names the TOML file; it is read before any setting is."""
FALLBACKS = (("database.url", "DATABASE_URL"), ("http.port", "PORT"))
"""Variables that platforms set by themselves, read when ours is not set."""
FILE = "_FILE"
LONGEST_FILE = 65_536


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where: a variable's name, ``flag``, or the path of a TOML file."""

    value: Any
    origin: str


@dataclass
class Reading:
    """What the sources gave, by dotted name; ``plugins.<plugin>.<field>`` for the settings of plugins."""

    given: dict[str, Given] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, name: str, given: Given) -> None:
        """Keep ``given`` unless a stronger source has given ``name`` already."""
        self.given.setdefault(name, given)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: ``http.port`` is ``NOCOHOST_HTTP__PORT``."""
    return VARIABLE if name == "worker_mode" else PREFIX + name.upper().replace(".", "__")


def read_flags(reading: Reading, names: frozenset[str], flags: Mapping[str, object]) -> None:
    """Take the flags that were given; None is a flag that was not."""
    for name, value in flags.items():
        if name not in names:
            reading.faults.append(f"flag {name!r} sets nothing")
        elif value is not None:
            reading.take(name, Given(value, "flag"))


def read_environment(reading: Reading, names: frozenset[str], environ: Mapping[str, str]) -> None:
    """Take what environment variables give; an empty one gives nothing, except ``WORKER_MODE``."""
    variables = [(name, variable_of(name)) for name in sorted(names)]
    for name, variable in [*variables, *FALLBACKS]:
        if name in names:
            _read_variable(reading, name, variable, environ)
    for variable in sorted(environ):
        if variable.startswith(PLUGINS):
            plugin, _, option = variable.removeprefix(PLUGINS).partition("__")
            if plugin and option and environ[variable]:
                reading.take(f"plugins.{plugin_slug(plugin)}.{option.lower()}", Given(environ[variable], variable))
            elif not option:
                reading.warnings.append(f"{variable} is not read; write {PLUGINS}<PLUGIN>__<FIELD>")
    reading.warnings += _unknown({variable for _, variable in variables}, environ)


def read_toml(reading: Reading, names: frozenset[str], path: Path) -> None:
    """Take what a TOML file gives."""
    import tomllib  # most nodes have none

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reading.faults.append(f"{path}: {_reason(error)}")
        return
    plugins = document.pop("plugins", {})
    for name, value in _flat(document, names):
        if name in names:
            reading.take(name, Given(value, str(path)))
        else:
            reading.warnings.append(f"{path}: {name} is no setting{_asked(nearest(name, names))}")
    if not isinstance(plugins, dict) or not all(isinstance(options, dict) for options in plugins.values()):
        reading.faults.append(f"{path}: plugins should hold one table for each plugin")
        return
    for plugin, options in plugins.items():
        for option, value in options.items():
            reading.take(f"plugins.{plugin_slug(plugin)}.{option.lower()}", Given(value, str(path)))


def read_value_file(path: str) -> str:
    """Return what a ``_FILE`` variable points to, without the newlines at its end.

    Raises ``OSError`` or ``ValueError`` for a file that cannot be read, is no UTF-8 text or is larger than 64 KiB.
    """
    with Path(path).open("rb") as file:
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise ValueError(f"larger than {LONGEST_FILE} bytes")
    return content.decode().rstrip("\r\n")


def _read_variable(reading: Reading, name: str, variable: str, environ: Mapping[str, str]) -> None:
    value, path = environ.get(variable), environ.get(variable + FILE)
    if value and path:
        reading.faults.append(f"{variable} and {variable}{FILE} are both set; keep one")
    elif path:
        try:
            reading.take(name, Given(read_value_file(path), variable + FILE))
        except (OSError, ValueError) as error:
            reading.faults.append(f"{variable}{FILE}: {path!r}: {_reason(error)}")
    elif value or (value is not None and variable == VARIABLE):
        reading.take(name, Given(value, variable))


def _flat(table: Mapping[str, Any], names: frozenset[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in names:
            yield from _flat(value, names, f"{name}.")
        else:
            yield name, value


def _unknown(known: set[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable that looks like ours and is not."""
    files = {variable + FILE for variable in known}
    for variable in sorted(environ):
        if misspells_worker_mode(variable):
            yield f"{variable} is not read; did you mean {VARIABLE}?"
        elif (
            variable.upper().startswith(PREFIX)
            and not variable.startswith(PLUGINS)
            and variable not in known | files | {CONFIG}
        ):
            candidates = files if variable.endswith(FILE) else {*known, CONFIG}
            # Compared without the prefix, which would make any two of them look alike.
            names = [name.removeprefix(PREFIX) for name in candidates]
            suggestion = nearest(variable.upper().removeprefix(PREFIX), names)
            meant = suggestion if suggestion in candidates else suggestion and PREFIX + suggestion
            yield f"{variable} is not read{_asked(meant)}"


def _asked(suggestion: str) -> str:
    return f"; did you mean {suggestion}?" if suggestion else ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
