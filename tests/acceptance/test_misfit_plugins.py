"""Every way a plugin can fail, from real wheels, in one environment and one process: the good neighbour is served."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from plugins.misfit import NEIGHBOUR, Misfit
from plugins.misfits import MISFITS
from plugins.wheels import Wheel

SCRIPT = Path(__file__).parents[1] / "probes" / "activating.py"
ROWS = [(misfit, key) for misfit in MISFITS for key in misfit.becomes]


@pytest.fixture(scope="module")
def soup(install_wheels: Callable[[Iterable[Wheel | Path]], Path]) -> dict[str, Any]:
    """Install all of them at once, activate everything, and return what was printed."""
    site = install_wheels([NEIGHBOUR, *(misfit.wheel for misfit in MISFITS)])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "", "1"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize(("misfit", "key"), ROWS, ids=[f"{misfit.wheel.name}-{key[0]}" for misfit, key in ROWS])
def test_a_misfit_is_out_with_its_reason_and_nothing_of_it_remains(
    soup: dict[str, Any], misfit: Misfit, key: tuple[str, str]
) -> None:
    group, name = key
    state, reason = misfit.becomes[key]
    (entry,) = [
        entry
        for entry in soup["entries"]
        if (entry["group"], entry["name"], entry["distribution"]) == (f"nocohost.{group}", name, misfit.wheel.name)
    ]
    assert entry["state"] == state, entry
    assert re.search(reason, entry["reason"]), entry["reason"]
    assert "\n" not in entry["reason"]
    assert not entry["hooks"]
    label = f"nocohost.{group} {name} ({misfit.wheel.name} 1.0)"
    assert label not in soup["registered"]
    level = "error" if state == "quarantined" else "warning"
    assert [level, f"plugin.{state}", label] in soup["events"]


def test_beside_all_the_misfits_the_neighbour_is_served(soup: dict[str, Any]) -> None:
    assert soup["served"] == ["neighbour:work"]
    assert soup["routes"] == ["neighbour GET /neighbour"]
    assert soup["published"] == ["neighbour_greeting"]
    assert soup["job_types"] == ["neighbour:work"]
    assert soup["registered"] == [
        "nocohost.declarations neighbour (neighbour 1.0)",
        "nocohost.extensions neighbour:work/greeting (neighbour 1.0)",
        "nocohost.requests neighbour (neighbour 1.0)",
        "nocohost.services neighbour:work (neighbour 1.0)",
    ]


def test_reading_the_catalogue_imports_nothing_of_them(soup: dict[str, Any]) -> None:
    assert soup["read_imports"] == []


def test_only_imports_and_hooks_that_hang_cost_the_limit(soup: dict[str, Any]) -> None:
    hanging = 3  # hangs, hangspackage (its second entry is refused at once), hookhangs
    assert hanging <= soup["seconds"] < hanging + 3


def test_a_trace_begins_in_the_guests_own_code(soup: dict[str, Any]) -> None:
    traces = {entry["name"]: entry["trace"] for entry in soup["entries"]}
    assert traces["raises:work"].splitlines()[1].strip().startswith("File ")
    assert "misfit_raises/surface.py" in traces["raises:work"].splitlines()[1]
    assert "no luck today" in traces["raises:work"]
    assert "misfit_hangs/surface.py" in traces["hangs:work"]
    assert traces["asynchook:work"] == ""


def test_two_services_for_one_key_are_an_error_that_names_both(soup: dict[str, Any]) -> None:
    (error,) = soup["duplicates"]
    assert "misfit-twin 1.0" in error
    assert "misfit-twintwo 1.0" in error


def test_every_refused_key_has_a_reason(soup: dict[str, Any]) -> None:
    assert "neighbour:work" not in soup["refused"]
    assert "no luck today" in soup["refused"]["raises:work"]
    assert all(soup["refused"].values())
