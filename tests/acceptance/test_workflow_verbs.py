"""``nocohost workflow ...`` on a database: while nobody runs workflows, and what a node has made of it afterwards."""

import json

import pytest

from builtin_plugins.workflow.drawing import draw
from nocohost.cli.main import execute

FLOW = """
version: 1
name: flow
title: A flow
trigger: {type: api}
steps:
  - {key: a, type: calculate, value: trigger.input.x + 1}
output: steps.a
"""


@pytest.fixture
def verb(monkeypatch, tmp_path, capsys):
    """Run one ``nocohost workflow`` verb in a folder of its own; return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKER_MODE", raising=False)
    monkeypatch.setenv("NOCOHOST_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NOCOHOST_LOG__LEVEL", "error")

    def verb(*arguments):
        capsys.readouterr()
        code = execute([*arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    (tmp_path / "flow.yaml").write_text(FLOW)
    return verb


def test_a_workflow_from_its_file_to_its_executions(verb, tmp_path):
    assert verb("workflow", "validate", "flow.yaml") == (0, "flow.yaml: right\n")
    assert verb("workflow", "import", "flow.yaml")[1] == "flow v1  stored\n"
    code, out = verb("workflow", "import", "flow.yaml", "--enable", "--json")
    assert (code, json.loads(out)[0]["enabled"], json.loads(out)[0]["created"]) == (0, 1, False)
    assert verb("workflow", "list")[1].splitlines() == [
        "name  newest  enabled  trigger  title",
        "flow  v1      v1       api      A flow",
    ]
    code, out = verb("workflow", "export", "flow", "--version", "1", "--format", "json")
    assert json.loads(out)["steps"][0]["key"] == "a"
    (tmp_path / "again.yaml").write_text(verb("workflow", "export", "flow")[1])
    assert "is the newest already" in verb("workflow", "import", "again.yaml")[1]
    execution = json.loads(verb("workflow", "run", "flow", "--input", '{"x": 1}', "--json")[1])
    assert (execution["state"], execution["created_by"]) == ("queued", "cli")
    code, out = verb("workflow", "show", execution["id"])
    assert "no live node serves workflow:process" in out
    assert verb("workflow", "signal", execution["id"], "go", "--value", "1") == (0, "")
    assert [one["id"] for one in json.loads(verb("workflow", "executions", "--state", "queued", "--json")[1])] == [
        execution["id"]
    ]
    head, line = verb("workflow", "executions", "--workflow", "flow", "--limit", "5")[1].splitlines()
    assert (head.split(), line.split()[0]) == (
        ["id", "state", "workflow", "created", "took", "reason"],
        execution["id"],
    )
    assert json.loads(verb("workflow", "cancel", execution["id"], "--json")[1])["cancel_requested"]
    code, out = verb("workflow", "retry", execution["id"], "--from", "")
    assert (code, "only what has failed" in out) == (1, True)
    assert "disabled" in verb("workflow", "disable", "flow")[1]
    assert "v1 enabled" in verb("workflow", "enable", "flow", "--version", "1")[1]
    assert json.loads(verb("workflow", "schema")[1])["title"] == "Workflow"


def test_a_webhook_is_told_once(verb, tmp_path):
    (tmp_path / "hook.json").write_text(json.dumps({**json.loads(JSON_FLOW), "trigger": {"type": "webhook"}}))
    assert "POST /workflow-hooks/" in verb("workflow", "import", "hook.json", "--enable")[1]
    assert "POST /workflow-hooks/" not in verb("workflow", "enable", "hooked")[1]


JSON_FLOW = '{"version": 1, "name": "hooked", "trigger": {"type": "api"}, "steps": []}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "version: 1\nname: flow\ntrigger: {type: api}\nsteps: [{key: a, type: calculate, value: nobody}]",
            "/steps/0/value",
        ),
        ("version: 2\nname: flow", "newer than 1"),
        ("just a text", "no object"),
        ("a: [1, 2", "cannot be read"),
        ("a: &a [1]\nb: *a", "references"),
        ("a: !!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_a_file_that_is_not_right(verb, tmp_path, text, said):
    (tmp_path / "bad.yaml").write_text(text)
    code, out = verb("workflow", "validate", "bad.yaml")
    assert (code in (2, 3), said in out, "Traceback" in out) == (True, True, False), out
    assert verb("workflow", "import", "bad.yaml", "flow.yaml")[0] == 2
    assert verb("workflow", "list")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("workflow", "run", "nobody"), 1, "there is no workflow"),
        (("workflow", "run", "nobody", "--input", "{"), 2, "no JSON"),
        (("workflow", "show", "00000000-0000-7000-8000-000000000000"), 1, "there is no execution"),
        (("workflow", "validate", "no-such-file"), 2, "does not exist"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(verb, arguments, code, said):
    found, out = verb(*arguments)
    assert (found, said in out, "Traceback" in out) == (code, True, False), out


def test_a_run_is_drawn_as_a_tree():
    def step(path, state="succeeded", iteration=None, **more):
        row = {"path": path, "key": path.split("/")[-1], "type": "calculate", "iteration": iteration, "state": state}
        times = {"started_at": "2026-01-01T00:00:00.000Z", "finished_at": "2026-01-01T00:00:01.500Z"}
        return {**row, **times, "attempts": 1, "output": 1, "error": None, "wake_at": None, "reference": None, **more}

    execution = {
        "id": "x",
        "workflow": "flow",
        "version": 1,
        "state": "failed",
        "reason": "so",
        "output": None,
        "warnings": [{"code": "key.unserved", "message": "so"}, {"code": "key.unserved", "message": "nobody"}],
        "started_at": "2026-01-01T00:00:00.000Z",
        "finished_at": "2026-01-01T00:03:00.000Z",
        "steps": [
            step("loop", type="loop"),
            *[step("loop/do/inner", iteration=str(number)) for number in range(30)],
            step("odd", "failed", error={"code": "a.b", "message": "line\none"}, attempts=3),
            step("call", "waiting", type="workflow", reference="y"),
            step("big", type="condition", output={"a": [True, "ü"]}),
            step("big/else/other", "skipped"),
        ],
    }
    lines = draw(execution)
    assert lines[0] == "✗ flow v1  failed  3.0 min  x"
    assert (lines[1:3], lines.count("  so")) == (["  so", "  nobody"], 1)
    assert "    10 more rounds before" in lines
    assert '  ✓ big  condition  1.5 s  = {"a": [true, "ü"]}' in lines
    assert "  … call  workflow  1.5 s  for execution y" in lines
    assert "      ✓ inner  calculate  1.5 s  = 1" in lines
    assert "  ✗ odd  calculate  1.5 s  attempt 3  a.b: line one" in lines
    assert lines[-2:] == ["    else:", "      - other  calculate"]
