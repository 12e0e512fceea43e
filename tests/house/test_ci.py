"""``.ci/run`` runs what README says, in a copy, and fails when anything fails; tried on a tree of false tools."""

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from source_tree import ROOT

TOOLS = ("python", "ruff", "mypy", "lint-imports", "codespell", "sphinx-build")
SUMMARY = "=========== 3 passed in 0.10s ============"
README = """
<!-- ci: the command below is what .ci/run runs -->
```console
$ mkdir -p .venv && cp -r false-tools .venv/bin && .venv/bin/pytest
```
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    """A checkout whose tools do nothing but say that they ran."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "false-tools").mkdir()
    for name in TOOLS:
        plant(tmp_path, name, f"echo ran {name} $*")
    plant(tmp_path, "pytest", f"echo in $PWD; echo '{SUMMARY}'")
    return tmp_path


def plant(tree: Path, name: str, script: str) -> None:
    file = tree / "false-tools" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def run(tree: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.defpath, "CI": "true", "TMPDIR": str(tree.parent)}
    command = ["bash", ".ci/run"]
    return subprocess.run(command, check=False, cwd=tree, env=environment, capture_output=True, text=True, timeout=60)


def test_everything_runs_in_a_copy_and_the_closing_line_of_pytest_comes_last(tree):
    done = run(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == SUMMARY
    assert all(f"ran {tool}" in done.stdout for tool in TOOLS if tool != "python")
    assert f"in {tree}\n" not in done.stdout
    assert not (tree / ".venv").exists()


@pytest.mark.parametrize("tool", ["pytest", "ruff", "mypy", "lint-imports", "codespell", "sphinx-build"])
def test_the_failure_of_any_tool_is_a_failure(tree, tool):
    plant(tree, tool, "echo broken; exit 1")
    done = run(tree)
    assert done.returncode == 1
    assert "::: failed: " in done.stdout
    assert tool in done.stdout.partition(":::\n")[2] or tool == "pytest"


def test_a_readme_without_the_mark_is_a_failure(tree):
    (tree / "README.md").write_text("```console\n$ pytest\n```\n")
    assert run(tree).returncode == 1


def test_the_marked_command_of_readme_sets_everything_up():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^<!-- ci:.*?-->\n```console\n\$ (.*)\n```$", text, flags=re.MULTILINE)
    assert len(commands) == 1
    assert "-m venv" in commands[0]
    assert ".[test]" in commands[0]
    assert "./tests/plugins/acme_shop" in commands[0]
    assert commands[0].endswith(".venv/bin/pytest -n auto")


def test_every_hook_before_a_commit_is_a_step_of_ci_too():
    script = (ROOT / ".ci" / "run").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        tool = " ".join(hook["entry"].split()[:2]) if hook["entry"].startswith("ruff") else hook["entry"].split()[0]
        assert tool in script, f"{hook['id']} is not run by .ci/run"


def test_the_names_of_test_files_are_unique():
    """pytest takes two files of one name for one module, and collects neither."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
