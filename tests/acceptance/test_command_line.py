"""The ``nocohost`` command as a process: what it imports, and arguments and environments that are not text."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HEAVY = ("pydantic", "sqlalchemy", "aiohttp", "pluggy", "alembic", "rich", "structlog", "yaml", "asyncio")


def run(*arguments: str | bytes, folder: Path, **environ: str | bytes) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str | bytes] = {"PATH": os.defpath, "HOME": str(folder), **environ}
    command = [sys.executable, "-m", "nocohost", *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_import_next_to_nothing(argument: str, tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from nocohost.cli.main import execute\n"
        f"code = execute([{argument!r}])\n"
        "json.dump([code, sorted(sys.modules)], sys.stderr)\n"
    )
    environment = {"PATH": os.defpath, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    code, modules = json.loads(done.stderr)
    assert code == 0
    assert not set(HEAVY).intersection(modules)
    verbs = {"nocohost.cli.run", "nocohost.cli.up", "nocohost.cli.mode", "nocohost.cli.jobs", "nocohost.cli.db"}
    assert not verbs.intersection(modules)


def test_bytes_that_are_no_text_are_refused_in_one_line(tmp_path: Path) -> None:
    done = run("mode", "explain", b"\xff!", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "U+DCFF" in done.stderr
    done = run("mode", "explain", "--json", b"\xff!", folder=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "mode.malformed_term"


def test_an_environment_that_is_no_text_is_shown_and_judged(tmp_path: Path) -> None:
    done = run("config", "show", folder=tmp_path, WORKER_MODE=b"\xff", NOCOHOST_LOG__LEVEL=b"\xfe")
    assert done.returncode == 2
    assert "NOCOHOST_LOG__LEVEL" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("config", "check", folder=tmp_path, WORKER_MODE=b"\xff")
    assert done.returncode == 3
    assert "U+DCFF" in done.stdout


def test_a_mode_of_a_hundred_kilobytes_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run("config", "check", "--json", folder=tmp_path, WORKER_MODE="a:b," * 25_000)
    assert done.returncode == 3
    assert len(done.stdout) < 1000


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m nocohost config show | true"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        check=False,
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
