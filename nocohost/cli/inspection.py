"""Loads the installed plugins as a node would, in a process of its own, and reports what became of them.

Whatever a plugin does there, to stdout, to the interpreter or to the process itself, the command that asked survives it
and can name the plugin.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from nocohost.api.errors import PluginLoadError
from nocohost.host.app import NodeApp
from nocohost.host.log import make_log
from nocohost.node.clock import SystemClock
from nocohost.node.identity import new_identity
from nocohost.node.settings import Settings, load_settings, read_mode
from nocohost.plugins.activation import activate
from nocohost.plugins.catalogue import Catalogue, read_catalogue
from nocohost.plugins.declarations import load_declarations
from nocohost.plugins.entry import EntryState, State
from nocohost.plugins.explain import explain

START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from nocohost.cli.inspection import report
report()
"""
"""The process looks for plugins exactly where its parent does, whichever way that was started."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What became of every entry point, as JSON objects."""

    mode: str
    entries: tuple[Mapping[str, Any], ...]
    """``EntryState.as_json()``, with ``plugin``, ``code``, ``trace`` and ``hooks`` besides."""
    rows: tuple[Mapping[str, Any], ...]
    """``HookRow.as_json()`` for each hook implementation."""
    faults: tuple[str, ...]
    """What is wrong with the settings of plugins."""
    notices: tuple[str, ...]


def inspect_metadata(catalogue: Catalogue) -> tuple[EntryState, ...]:
    """Return what metadata alone tells about every entry point; imports nothing."""
    states = []
    for entry in catalogue.entries:
        verdict = catalogue.verdicts.get(entry)
        state = State.INSTALLED if verdict is None else verdict.state
        reason = "" if verdict is None else verdict.reason
        states.append(EntryState(entry, catalogue.plugin_of(entry), state, reason=reason))
    return tuple(states)


def inspect_in_process() -> Inspection:
    """Load what the worker mode covers in a new process and return its report.

    Raises ``PluginLoadError`` that names the entry point when a plugin ends the process.
    """
    command = [sys.executable, "-c", START, json.dumps(sys.path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.endswith(b"}")]
    if not lines or "entries" not in lines[-1]:
        last = lines[-1]["importing"] if lines else "the first plugin"
        raise PluginLoadError(
            f"the process that loads the plugins ended with code {done.returncode}; the last import was {last}",
            hint="nocohost plugins list --no-load shows what is installed",
        )
    found = lines[-1]
    return Inspection(
        mode=found["mode"],
        entries=tuple(found["entries"]),
        rows=tuple(found["rows"]),
        faults=tuple(found["faults"]),
        notices=tuple(found["notices"]),
    )


def report() -> None:
    """Load the plugins, write the report as the last line of stdout, and leave. What plugins print goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        os.dup2(2, 1)
        settings = load_settings(os.environ).settings
        catalogue = read_catalogue()
        sys.meta_path.insert(0, ImportReport(catalogue, stream))
        found = inspect_here(settings, catalogue)
        stream.write(json.dumps(found) + "\n")
    # Threads that plugins have started must not keep the command waiting.
    os._exit(0)


class ImportReport:
    """A finder that finds nothing: it writes down which entry point's module is about to be imported."""

    def __init__(self, catalogue: Catalogue, stream: TextIO) -> None:
        self._entries = {entry.module: str(entry) for entry in catalogue.entries}
        self._stream = stream

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Write down that ``name`` is about to be imported, if it is an entry point's."""
        if name in self._entries:
            self._stream.write(json.dumps({"importing": self._entries[name]}) + "\n")
            self._stream.flush()


def inspect_here(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    """Load what the worker mode covers in this process and return the fields of an ``Inspection``."""
    mode = read_mode(settings, catalogue.declared_keys).mode
    log = make_log(io.StringIO())  # what it would log is reported
    seconds = settings.import_seconds
    declarations = load_declarations(
        catalogue, import_seconds=seconds, plugin_settings=settings.plugins, plugin_files=settings.plugin_files, log=log
    )
    hooks = declarations.node_hooks(log)
    app = NodeApp(
        mode=mode,
        node=new_identity(settings.node_name),
        clock=SystemClock(),
        log=log,
        declared=declarations,
        keys=catalogue.declared_keys,
        external_keys=settings.external_keys,
    )
    app.offer(hooks)
    activation = activate(mode, catalogue, declarations, app, import_seconds=seconds, log=log, hooks=hooks)
    return {
        "mode": mode.canonical,
        "entries": [_shown(state) for state in activation.entries],
        "rows": [row.as_json() for row in explain(activation)],
        "faults": declarations.setting_faults,
        "notices": declarations.notices,
    }


def _shown(state: EntryState) -> dict[str, Any]:
    more = {"plugin": state.plugin, "code": state.code or None, "trace": state.trace or None, "hooks": state.hooks}
    return {**state.as_json(), **more}
