"""Run as a script in a process of its own: activate what is installed and print what became of it, as JSON.

``activating.py MODE [IMPORT_SECONDS]``. Only what PYTHONPATH holds counts as installed, so that plugins of the
environment the tests run in do not matter.
"""

import json
import os
import sys
import time

from fake_app import FakeApp, ListLog

from nocohost.node.mode import parse_mode
from nocohost.plugins.activation import activate
from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.declarations import load_declarations
from nocohost.plugins.explain import explain


def main(text: str, seconds: float) -> None:
    before = set(sys.modules)
    catalogue = read_catalogue(os.environ["PYTHONPATH"].split(os.pathsep))
    after_reading = set(sys.modules) - before
    mode = parse_mode(text, declared=catalogue.declared_keys).mode
    log = ListLog()
    started = time.monotonic()
    declarations = load_declarations(catalogue, import_seconds=seconds, plugin_settings={}, log=log)
    hooks = declarations.node_hooks(log)
    app = FakeApp(mode, declarations, hooks=hooks, keys=catalogue.declared_keys)
    activation = activate(mode, catalogue, declarations, app, import_seconds=seconds, log=log, hooks=hooks)
    modules = {entry.module.partition(".")[0] for entry in catalogue.entries if entry.module}
    json.dump(
        {
            "mode": mode.canonical,
            "seconds": time.monotonic() - started,
            "read_imports": sorted(name for name in after_reading if name.partition(".")[0] in modules),
            "entries": [
                {**state.as_json(), "plugin": state.plugin, "trace": state.trace, "hooks": state.hooks}
                for state in activation.entries
            ],
            "imported": sorted(name for name in sys.modules if name.partition(".")[0] in modules - {"nocohost"}),
            "served": sorted(activation.served_keys),
            "refused": dict(activation.refused_keys),
            "routes": [f"{plugin} {route.method} {route.path}" for plugin, route in activation.routes],
            "registered": sorted(
                {str(found.entry) for hook in hooks.known for found in activation.hooks.implementations(hook)}
            ),
            "published": sorted(hook for hook, known in hooks.known.items() if known.publisher != "nocohost"),
            "job_types": sorted(declarations.job_types),
            "duplicates": [str(error) for error in catalogue.duplicates],
            "events": [[level, event, fields.get("entry")] for level, event, fields in log.lines],
            "explain": [row.as_json() for row in explain(activation)],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 20.0)
