"""``nocohost mode explain`` and ``nocohost mode plan``."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from nocohost.cli.main import execute
from nocohost.plugins.catalogue import catalogue_of
from nocohost.plugins.entry import SERVICES, CatalogueEntry

KEYS = ("shop:invoice", "workflow:process")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    catalogue = catalogue_of(CatalogueEntry(SERVICES, key, "acme", "1.0", "acme") for key in KEYS)
    monkeypatch.setattr("nocohost.cli.mode.read_catalogue", lambda: catalogue)
    monkeypatch.chdir(tmp_path)
    for name in ("WORKER_MODE", "NOCOHOST_EXTERNAL_KEYS", "NOCOHOST_REQUIRE_MODE"):
        monkeypatch.delenv(name, raising=False)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert execute([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("string", "canonical", "requests", "services", "transient"),
    [
        ("", "!,*", True, [*KEYS], False),
        ("!", "!", True, [], False),
        ("*", "*", False, [*KEYS], False),
        ("-", "-", False, [], True),
        ("workflow:process , shop:invoice", "shop:invoice,workflow:process", False, [*KEYS], False),
        ("*,-workflow:*", "*,-workflow:*", False, ["shop:invoice"], False),
    ],
)
def test_mode_explain_json(
    capsys: pytest.CaptureFixture[str],
    string: str,
    canonical: str,
    requests: bool,
    services: list[str],
    transient: bool,
) -> None:
    assert run_json(capsys, "mode", "explain", string) == {
        "canonical": canonical,
        "requests": requests,
        "services": services,
        "transient": transient,
        "notices": [],
    }


def test_mode_explain_tells_a_person_what_decides(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mode", "explain", "!,*,-workflow:*"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mode      !,*,-workflow:*",
        "requests  served",
        "services  1 of 2 installed",
        "notice    '!,*' serves requests and services alike, as written; NocoBase reads it as '!'",
        "",
        "service key       here        because of",
        "shop:invoice      served      *",
        "workflow:process  not served  -workflow:*",
    ]


@pytest.mark.parametrize(
    ("string", "code"),
    [
        ("a:b,,c:d", "mode.empty_term"),
        ("Shop", "mode.malformed_term"),
        ("!,-", "mode.dash_in_list"),
        ("-shop:invoice", "mode.exclusion_without_base"),
        ("shop:invoice,-shop:invoice", "mode.nothing_left"),
        ("shop:invoise", "mode.unknown_key"),
        ("-h", "mode.malformed_term"),
        ("--jsno", "mode.malformed_term"),
    ],
)
def test_mode_explain_refuses_with_exit_2(capsys: pytest.CaptureFixture[str], string: str, code: str) -> None:
    error = run_json(capsys, "mode", "explain", string, code=2)["error"]
    assert error["code"] == code
    assert set(error) == {"code", "message", "hint"}
    assert execute(["mode", "explain", string]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("nocohost: worker mode ")
    assert printed.err.count("\n") == 1


def test_mode_explain_asks_for_a_mode_where_one_is_required(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_REQUIRE_MODE", "1")
    assert run_json(capsys, "mode", "explain", "", code=2)["error"]["code"] == "mode.required"


def test_mode_explain_knows_external_keys(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_EXTERNAL_KEYS", "mail:send")
    told = run_json(capsys, "mode", "explain", "mail:send,shop:invoice")
    assert told["services"] == ["shop:invoice"]
    assert "mail:send" in told["notices"][0]


def test_mode_plan_of_a_hole_exits_3_and_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    plan = run_json(capsys, "mode", "plan", "!", code=3)
    assert plan["unserved"] == [*KEYS]
    assert plan["coverage"] == {"requests": 1, "shop:invoice": 0, "workflow:process": 0}
    assert plan["nodes"] == [{"mode": "!", "requests": True, "services": [], "replicas": 1, "where": "mode 1 ('!')"}]
    assert [finding["code"] for finding in plan["findings"] if finding["level"] == "error"] == ["plan.unserved"] * 2


def test_mode_plan_of_a_whole_fleet_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    plan = run_json(capsys, "mode", "plan", "!", "*,-shop:invoice", "shop:*")
    assert plan["unserved"] == []
    assert {finding["level"] for finding in plan["findings"]} == {"info"}


def test_mode_plan_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mode", "plan", "!", "-shop:invoice"]) == 3
    text = capsys.readouterr().out
    assert "mode.exclusion_without_base" in text
    assert "no node would serve the service key shop:invoice [shop:invoice]" in text
    assert text.endswith("problems found\n")
    assert execute(["mode", "plan", "!,*", "!,*"]) == 0
    assert capsys.readouterr().out.endswith("everything is served\n")


def test_mode_plan_reads_files_and_strings_together(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yaml").write_text("services:\n  web:\n    environment: {WORKER_MODE: '!'}\n    scale: 2\n")
    Path("k8s.yaml").write_text(
        "kind: Deployment\nmetadata: {name: flows}\nspec:\n  template:\n    spec:\n      containers:\n"
        "        - {name: node, env: [{name: WORKER_MODE, value: 'workflow:*'}]}\n"
    )
    plan = run_json(capsys, "mode", "plan", "shop:invoice", "--from", "compose.yaml", "--from", "k8s.yaml")
    assert [node["where"] for node in plan["nodes"]] == [
        "mode 1 ('shop:invoice')",
        "compose.yaml: services.web",
        "k8s.yaml: Deployment flows, container node",
    ]
    assert plan["coverage"] == {"requests": 2, "shop:invoice": 1, "workflow:process": 1}


def test_mode_plan_reads_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"services: {all: {environment: {WORKER_MODE: ''}}}"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    assert run_json(capsys, "mode", "plan", "--from", "-")["unserved"] == []


def test_mode_plan_finds_the_yaml_null(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yaml").write_text("services:\n  web:\n    environment:\n      WORKER_MODE: !\n")
    plan = run_json(capsys, "mode", "plan", "!,*", "--from", "compose.yaml", code=3)
    assert [finding["code"] for finding in plan["findings"] if finding["level"] == "error"] == ["plan.yaml_null"]


def test_mode_plan_names_the_line_of_an_unquoted_star(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yaml").write_text("services:\n  web:\n    environment:\n      WORKER_MODE: *\n")
    assert execute(["mode", "plan", "!,*", "--from", "compose.yaml"]) == 3
    assert "[compose.yaml, line 4, column 21]" in capsys.readouterr().out


def test_mode_plan_needs_modes(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mode", "plan"]) == 2
    assert "name the modes of the nodes" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_mode_plan_refuses_a_file_that_is_none(capsys: pytest.CaptureFixture[str], content: bytes | None) -> None:
    if content is not None:
        Path("fleet.yaml").write_bytes(content)
    assert execute(["mode", "plan", "--from", "fleet.yaml"]) == 2
    assert "fleet.yaml" in capsys.readouterr().err


def test_wrong_settings_are_told_instead(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_EXTERNAL_KEYS", "Mail")
    assert run_json(capsys, "mode", "explain", "!", code=2)["error"]["code"] == "config.setting"


def test_a_suggestion_and_the_way_out_are_two_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    hint = run_json(capsys, "mode", "explain", "shop:invoise", code=2)["error"]["hint"]
    assert hint == "did you mean 'shop:invoice'? Keys that other images serve go into NOCOHOST_EXTERNAL_KEYS"
    hint = run_json(capsys, "mode", "explain", "zzz:qqq", code=2)["error"]["hint"]
    assert hint.endswith("; keys that other images serve go into NOCOHOST_EXTERNAL_KEYS")
