"""Importing any module of the house has no effect: no environment read, nothing opened, started or registered."""

import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, read_modules

PROBE = Path(__file__).with_name("import_probe.py")
MODULES = [
    module.name
    for module in read_modules(ROOT, "nocohost", "builtin_plugins")
    if all(part.isidentifier() for part in module.name.split("."))  # migration scripts are run by Alembic, not imported
]

GUILTY = {
    "reads the environment": "import os\nMODE = os.environ.get('WORKER_MODE')",
    "reads the environment, all of it": "import os\nNAMES = tuple(os.environ)",
    "reads the environment by way of a library": "import shutil\nGIT = shutil.which('git')",
    "changes the threads": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
    "opens a socket": "import socket\nDOOR = socket.socket()",
    "opens a database": "import sqlite3\nDATABASE = sqlite3.connect(':memory:')",
    "starts a process": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])",
    "writes a file": "import tempfile\nFILE = tempfile.TemporaryFile('w')",
    "changes logging": "import logging\nlogging.basicConfig()",
    "changes signal handlers": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "changes the environment": "import os\nos.environ['WORKER_MODE'] = '!'",
    "cannot be imported first": "import nothing_of_this_name",
    "ends the process": "import os\nos._exit(7)",
}
INNOCENT = """
import os
import re
import logging
from dataclasses import dataclass
LOG = logging.getLogger(__name__)
KEY = re.compile("x")
def mode():
    return os.environ["WORKER_MODE"]
"""


def probe(folder: Path, *names: str) -> list[str]:
    command = [sys.executable, str(PROBE), str(folder), *names]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(300)  # seconds, but for a machine that is busy with something else
def test_importing_a_module_has_no_side_effect():
    assert MODULES
    found = probe(ROOT, *MODULES)
    assert not found, "\n".join(found)


def test_the_probe_finds_every_kind_of_side_effect(tmp_path):
    for number, source in enumerate([*GUILTY.values(), INNOCENT]):
        (tmp_path / f"planted{number}.py").write_text(source)
    found = probe(tmp_path, *(f"planted{number}" for number in range(len(GUILTY) + 1)))
    for number, deed in enumerate(GUILTY):
        said = " ".join(line for line in found if line.startswith(f"planted{number}:"))
        assert deed.partition(",")[0].partition(" by ")[0] in said, f"{deed}: {said!r}"
    assert not [line for line in found if line.startswith(f"planted{len(GUILTY)}:")]


@pytest.mark.parametrize("name", ["nocohost", "nocohost.api.job", "nocohost.node"])
def test_a_pure_module_is_imported_first_without_help(name):
    """The probe preloads libraries; these must not need that."""
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True, cwd=ROOT)
