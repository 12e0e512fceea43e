"""The Compose and Kubernetes files that the documentation shows serve everything, by the word of the fleet linter."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "how-to" / "deploy.md"
MANIFESTS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def plan(manifest: str, folder: Path) -> tuple[int, dict]:
    file = folder / "manifest.yaml"
    file.write_text(manifest)
    command = [sys.executable, "-m", "nocohost", "mode", "plan", "--json", "--from", str(file)]
    environment = {"PATH": os.defpath, "HOME": str(folder)}
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("manifest", "requests", "invoices"), [(MANIFESTS[0], 1, 2), (MANIFESTS[1], 2, 3)], ids=["compose", "kubernetes"]
)
def test_a_manifest_of_the_documentation_serves_everything(manifest, requests, invoices, tmp_path):
    code, found = plan(manifest, tmp_path)
    assert code == 0, found
    keys = ("shop:invoice", "async-task:process", "workflow:process")
    assert found["coverage"] == {"requests": requests, **dict.fromkeys(keys, invoices)}
    assert [finding for finding in found["findings"] if finding["level"] != "info"] == []


@pytest.mark.parametrize("manifest", MANIFESTS, ids=["compose", "kubernetes"])
def test_the_same_without_its_quotes_does_not(manifest, tmp_path):
    unquoted = manifest.replace('"!"', "!")
    assert unquoted != manifest
    code, found = plan(unquoted, tmp_path)
    assert code == 3
    assert [finding for finding in found["findings"] if finding["level"] == "error"]
