"""What each worker mode imports of the installed plugins, and not more: seen in ``sys.modules`` of real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from plugins.wheels import Wheel
from plugins.workshop import TOOLS, WORKSHOP

SCRIPT = Path(__file__).parents[1] / "probes" / "activating.py"
DECLARED = {"workshop", "workshop.declarations"}
REQUESTS = {"workshop.routes"}
COUNT = {"workshop.count", "workshop.found"}
STOCK = {"workshop.stock"}
MEND = {"tools", "tools.mend"}
MODES = {
    "": DECLARED | REQUESTS | COUNT | STOCK | MEND,
    "!": DECLARED | REQUESTS,
    "*": DECLARED | COUNT | STOCK | MEND,
    "parts:count,tools:mend": DECLARED | COUNT | MEND,
    "!,parts:stock": DECLARED | REQUESTS | STOCK,
    "-": DECLARED,
    "!,*": DECLARED | REQUESTS | COUNT | STOCK | MEND,
    "parts:*": DECLARED | COUNT | STOCK,
    "*,-parts:count": DECLARED | STOCK | MEND,
}
"""The six modes of NocoBase, then those that only nocohost has."""

Install = Callable[[Iterable[Wheel | Path]], Path]


@pytest.fixture(scope="module")
def site(install_wheels: Install) -> Path:
    return install_wheels([WORKSHOP, TOOLS])


def run(site: Path, mode: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), mode],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize("mode", MODES)
def test_a_node_imports_what_its_mode_covers_and_nothing_else(site: Path, mode: str) -> None:
    printed = run(site, mode)
    assert set(printed["imported"]) == MODES[mode]
    states = {(entry["group"], entry["name"]): entry for entry in printed["entries"]}
    for (group, _), entry in states.items():
        active = entry["module"] in MODES[mode]
        assert entry["state"] == ("active" if active else "installed")
        assert entry["imported"] == active
        assert (entry["import_seconds"] is not None) == active
        assert entry["reason"] is None
        assert bool(entry["hooks"]) == active, group
    keys = {"parts:count": "workshop.count", "parts:stock": "workshop.stock", "tools:mend": "tools.mend"}
    assert set(printed["served"]) == {key for key, module in keys.items() if module in MODES[mode]}
    assert printed["routes"] == (["workshop GET /parts"] if "workshop.routes" in MODES[mode] else [])
    assert printed["job_types"] == ["parts:count", "parts:stock"]


def test_explain_tells_for_each_hook_which_term_decided_and_who_declared_it(site: Path) -> None:
    rows = {(row["name"], row["hook"]): row for row in run(site, "*,-parts:count")["explain"]}
    found = {key: (row["active"], row["term"], row["distribution"]) for key, row in rows.items()}
    assert found == {
        ("workshop", "register_hookspecs"): (True, None, "workshop"),
        ("workshop", "register_jobs"): (True, None, "workshop"),
        ("parts:count", "register_services"): (False, "-parts:count", "workshop"),
        ("parts:stock", "register_services"): (True, "*", "workshop"),
        ("tools:mend", "register_services"): (True, "*", "tools"),
        ("parts:count/found", "part_found"): (False, "-parts:count", "workshop"),
        ("workshop", "serve_requests"): (False, None, "workshop"),
        ("workshop", None): (False, None, "workshop"),
        ("parts", None): (False, None, "workshop"),
    }
    assert rows["parts:count", "register_services"]["why"] == "the term -parts:count of *,-parts:count excludes it"
    assert rows["workshop", "serve_requests"]["why"] == "no term of *,-parts:count asks for !"


def test_ctrl_c_gets_through_while_a_plugin_hangs(install_wheels: Install) -> None:
    source = "import time\nprint('hanging', flush=True)\ntime.sleep(3600)"
    site = install_wheels([Wheel("slow", {"slow.py": source}, {"services": {"slow:work": "slow"}})])
    child = subprocess.Popen(
        [sys.executable, str(SCRIPT), "*", "600"],
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "hanging\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
