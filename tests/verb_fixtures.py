"""The fixture that runs command lines inside the test's own process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nocohost.cli.main import execute

Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run one command line with ``--json``, in a folder of its own; return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKER_MODE", raising=False)
    monkeypatch.setenv("NOCOHOST_DATA_DIR", str(tmp_path))

    def call(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = execute([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call
