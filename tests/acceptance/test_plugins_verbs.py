"""``nocohost plugins``, as people and scripts call it, with real wheels and real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from plugins.misfit import HEAD, offering
from plugins.wheels import Wheel
from plugins.workshop import TOOLS, WORKSHOP

Install = Callable[[Iterable[Wheel | Path]], Path]

LOUD = Wheel(
    "loud",
    {"loud.py": "import sys\nprint('I am on stdout')\nsys.stdout.flush()\n" + HEAD + offering("loud:work")},
    {"services": {"loud:work": "loud"}},
)
BROKEN = Wheel(
    "broken",
    {"broken.py": "def inner():\n    raise RuntimeError('no luck today')\ninner()\n"},
    {"services": {"broken:work": "broken"}, "extensions": {"broken:work/x": "broken_x", "no:body/x": "broken_x"}},
)
DEADLY = Wheel("deadly", {"deadly.py": "import os\nos._exit(9)\n"}, {"services": {"deadly:work": "deadly"}})
OBSTINATE = Wheel(
    "obstinate",
    {
        "obstinate.py": "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n"
        + HEAD
        + offering("obstinate:work")
    },
    {"services": {"obstinate:work": "obstinate"}},
)
STRICT = Wheel(
    "strict",
    {
        "strict.py": """
            from nocohost import hookimpl
            from pydantic import BaseModel

            class StrictSettings(BaseModel):
                url: str

            @hookimpl
            def register_settings():
                return StrictSettings
        """
    },
    {"declarations": {"strict": "strict"}},
)


@pytest.fixture(scope="module")
def good(install_wheels: Install) -> Path:
    return install_wheels([WORKSHOP, TOOLS, LOUD, OBSTINATE])


@pytest.fixture(scope="module")
def bad(install_wheels: Install) -> Path:
    return install_wheels([TOOLS, BROKEN])


def nocohost(site: Path, *arguments: str, mode: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOCOHOST_", "WORKER_MODE"))}
    environment = {**kept, "PYTHONPATH": str(site), **settings}
    if mode is not None:
        environment["WORKER_MODE"] = mode
    return subprocess.run(
        [sys.executable, "-m", "nocohost", *arguments],
        env=environment,
        cwd=site,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def entries(done: subprocess.CompletedProcess[str], *distributions: str) -> dict[str, dict[str, Any]]:
    """Return what was listed of these distributions; others may be installed where the tests run."""
    assert done.returncode == 0, done.stderr
    listed = [entry for entry in json.loads(done.stdout) if entry["distribution"] in distributions]
    return {f"{entry['group'].removeprefix('nocohost.')} {entry['name']}": entry for entry in listed}


def test_list_loads_what_the_mode_covers_whatever_plugins_print(good: Path) -> None:
    done = nocohost(good, "plugins", "list", "--json", mode="parts:count,loud:*,obstinate:work")
    found = entries(done, "workshop", "tools", "loud", "obstinate")
    assert "I am on stdout" in done.stderr
    active = {name for name, entry in found.items() if entry["state"] == "active"}
    assert active == {
        "declarations workshop",
        "services parts:count",
        "extensions parts:count/found",
        "services loud:work",
        "services obstinate:work",
    }
    assert {name for name, entry in found.items() if entry["imported"]} == active
    assert set(found["services tools:mend"]) == {
        "group", "name", "distribution", "version", "module", "state", "imported", "reason", "import_seconds",
    }  # fmt: skip
    assert found["services tools:mend"] == {
        "group": "nocohost.services",
        "name": "tools:mend",
        "distribution": "tools",
        "version": "1.0",
        "module": "tools.mend",
        "state": "installed",
        "imported": False,
        "reason": None,
        "import_seconds": None,
    }


def test_list_without_loading_imports_nothing_and_still_knows_what_metadata_tells(bad: Path) -> None:
    done = nocohost(bad, "plugins", "list", "--no-load", "--json", mode="broken:work")
    found = entries(done, "broken", "tools")
    assert not any(entry["imported"] for entry in found.values())
    assert {name: entry["state"] for name, entry in found.items()} == {
        "services broken:work": "installed",
        "services tools:mend": "installed",
        "extensions broken:work/x": "installed",
        "extensions no:body/x": "disabled",
    }


def test_list_for_people_is_a_table(bad: Path) -> None:
    done = nocohost(bad, "plugins", "list", mode="*")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["state", "group", "name", "distribution", "import", "reason"]
    (line,) = [line for line in done.stdout.splitlines() if line.split()[1:3] == ["services", "broken:work"]]
    assert line.startswith("quarantined")
    assert "RuntimeError: no luck today" in line


def test_show_prints_the_trace_and_why(bad: Path) -> None:
    done = nocohost(bad, "plugins", "show", "broken:work", mode="*")
    assert done.returncode == 0, done.stderr
    assert "in inner" in done.stdout
    # As the reason, as the last line of the traceback, and as the reason of the extension that goes with it.
    assert done.stdout.count("RuntimeError: no luck today") == 3
    assert "its service" in done.stdout
    assert "nocohost.extensions broken:work/x" in done.stdout
    assert "tools" not in done.stdout


def test_show_as_json_tells_the_deciding_term(good: Path) -> None:
    done = nocohost(good, "plugins", "show", "workshop", "--json", mode="*,-parts:count")
    shown = json.loads(done.stdout)
    assert shown["mode"] == "*,-parts:count"
    assert {entry["name"] for entry in shown["entries"]} == {
        "workshop", "parts:count", "parts:stock", "parts:count/found", "parts",
    }  # fmt: skip
    (row,) = [row for row in shown["hooks"] if row["name"] == "parts:count" and row["hook"] == "register_services"]
    assert (row["active"], row["term"], row["distribution"]) == (False, "-parts:count", "workshop")


def test_show_of_nothing_that_is_installed_suggests(good: Path) -> None:
    done = nocohost(good, "plugins", "show", "parts:cuont")
    assert done.returncode == 2
    assert "did you mean parts:count?" in done.stderr


def test_check_is_content_with_sound_plugins(good: Path) -> None:
    done = nocohost(good, "plugins", "check", mode="parts:*,tools:mend")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ok")


def test_check_finds_faults_and_tells_warnings_apart(bad: Path) -> None:
    done = nocohost(bad, "plugins", "check", "--json", mode="*")
    assert done.returncode == 3
    shown = json.loads(done.stdout)
    codes = {fault["message"].split(" (")[0]: fault["code"] for fault in shown["faults"]}
    assert codes["nocohost.services broken:work"] == "plugin.load"
    assert any("no:body/x" in warning for warning in shown["warnings"])
    assert nocohost(bad, "plugins", "check", mode="tools:mend").returncode == 0


def test_a_plugin_that_ends_the_process_is_named(install_wheels: Install) -> None:
    site = install_wheels([TOOLS, DEADLY])
    done = nocohost(site, "plugins", "list", mode="deadly:work")
    assert done.returncode == 1
    assert "ended with code 9" in done.stderr
    assert "the last import was nocohost.services deadly:work (deadly 1.0)" in done.stderr


def test_a_refused_mode_is_refused_here_too(good: Path) -> None:
    done = nocohost(good, "plugins", "list", "--json", mode="parts:cuont")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "mode.unknown_key"
    assert nocohost(good, "plugins", "list", "--no-load", mode="parts:cuont").returncode == 0


def test_wrong_settings_of_a_plugin_are_told(install_wheels: Install) -> None:
    site = install_wheels([STRICT])
    done = nocohost(site, "plugins", "check", mode="!")
    assert done.returncode == 3
    assert "NOCOHOST_PLUGINS__STRICT__URL: Field required" in done.stdout
    listed = nocohost(site, "plugins", "list", "--json", mode="!")
    assert "NOCOHOST_PLUGINS__STRICT__URL" in listed.stderr
    assert entries(listed, "strict")["declarations strict"]["state"] == "active"
    fine = nocohost(site, "plugins", "check", mode="!", NOCOHOST_PLUGINS__STRICT__URL="x")
    assert fine.returncode == 0, fine.stdout
