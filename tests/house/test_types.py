"""What third parties write against the façade type-checks strictly, and a mistake of theirs is found."""

import subprocess
import sys

import pytest
from source_tree import ROOT

PLUGIN = ROOT / "tests" / "plugins" / "acme_shop"
MISTAKES = {
    'Service("shop:invoice", handler, concurrency="many")': "arg-type",
    "JobType()": "call-arg",
    'route("GET", "/shop", handler, permissions="shop.read")': "call-arg",
    "app.queues": "attr-defined",
    "app.serving(1)": "arg-type",
    "nocohost.Jobb": "attr-defined",
}


def mypy(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--no-error-summary",
        *map(str, arguments),
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def test_the_example_plugin_is_typed_strictly():
    assert (PLUGIN / "acme_shop" / "invoice.py").is_file()
    done = mypy(PLUGIN / "acme_shop")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(240)
def test_a_mistake_against_the_facade_is_found(tmp_path):
    lines = ["import nocohost", "from nocohost import App, Job, JobType, Service, route", ""]
    lines += ["async def handler(job: Job) -> None: ...", "", "def act(app: App) -> None:"]
    first = len(lines) + 1
    lines += [f"    {mistake}" for mistake in MISTAKES]
    plugin = tmp_path / "plugin.py"
    plugin.write_text("\n".join(lines) + "\n")
    said = mypy(plugin).stdout
    for number, (mistake, code) in enumerate(MISTAKES.items(), first):
        assert any(f"plugin.py:{number}:" in line and f"[{code}]" in line for line in said.splitlines()), (
            f"{mistake}\n{said}"
        )
