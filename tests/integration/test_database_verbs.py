"""``nocohost db`` and ``nocohost token``, as a person or a script calls them, on both databases."""

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugins.wheels import Wheel

from nocohost.cli.main import execute

CURRENT = {"plugin": "nocohost", "state": "current", "reason": None}
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(database_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A fresh, empty database, which the settings name."""
    made = database_url()
    monkeypatch.setenv("NOCOHOST_DATABASE__URL", made)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def call(url: str, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call a verb and return its exit code, stdout and stderr."""

    def call(line: str) -> tuple[int, str, str]:
        code = execute(line.split())
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def told(output: str) -> Any:
    return json.loads(output)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, revision: str, init: str) -> None:
    """Lay out an installed plugin that brings one migration."""
    file = f"revision = '0001'\ndown_revision = None\n\ndef upgrade():\n    {revision}\n"
    wheel = Wheel(
        f"verbs-{name}",
        {
            f"verbs_{name}/__init__.py": "",
            f"verbs_{name}/migrations/__init__.py": init,
            f"verbs_{name}/migrations/versions/0001.py": file,
        },
        {"migrations": {name: f"verbs_{name}.migrations"}},
    )
    with zipfile.ZipFile(wheel.build(folder)) as archive:
        archive.extractall(folder / "site")
    monkeypatch.syspath_prepend(folder / "site")


def test_db_status_tells_what_is_behind_and_changes_nothing(call: Call) -> None:
    for _ in range(2):
        code, out, _ = call("db status --json")
        assert (code, told(out)[0]["state"]) == (3, "behind")


def test_db_upgrade_brings_the_schema_up(call: Call) -> None:
    code, out, _ = call("db upgrade --json")
    assert code == 0
    assert told(out)[0].items() >= CURRENT.items()
    code, out, _ = call("db status")
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["plugin", "state"]
    assert out.splitlines()[1].split()[:2] == ["nocohost", "current"]
    assert call("db upgrade")[0] == 0


def test_db_upgrade_works_where_starts_may_not(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_DATABASE__UPGRADE", "false")
    code, out, _ = call("token list --json")
    assert (code, told(out)["error"]["code"]) == (69, "store.schema_version")
    assert "nocohost db upgrade" in told(out)["error"]["hint"]
    assert call("db upgrade")[0] == 0
    assert call("token list")[0] == 0


def test_db_upgrade_tells_which_plugins_failed(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "broken", "raise RuntimeError('no good')", "RUNNABLE_FROM = '1.0'")
    install(tmp_path, monkeypatch, "healthy", "pass", "RUNNABLE_FROM = '1.0'")
    install(tmp_path, monkeypatch, "unreadable", "pass", "")
    code, out, _ = call("db upgrade --json")
    rows = {row["plugin"]: row for row in told(out)}
    assert code == 1
    assert {name: rows[name]["state"] for name in ("nocohost", "broken", "healthy", "unreadable")} == {
        "nocohost": "current",
        "broken": "behind",
        "healthy": "current",
        "unreadable": "unreadable",
    }
    assert "no good" in rows["broken"]["reason"]
    code, out, err = call("db status")
    assert code == 3
    assert "RUNNABLE_FROM" in err
    code, _, err = call("token list")
    assert code == 0
    assert "warning: migrations of broken: " in err


def test_db_purge_counts_and_removes_what_is_over(call: Call, url: str) -> None:
    assert call('jobs enqueue shop:invoice --payload {"order":1} --idempotency-key a')[0] == 0
    job = told(call("jobs list --json")[1])[0]["id"]
    assert call(f"jobs cancel {job}")[0] == 0
    nothing = {"history": 0, "idempotency_keys": 0, "ticks": 0, "nodes": 0}
    assert told(call("db purge --json")[1]) == {**nothing, "removed": True}
    time.sleep(1.1)  # by the database's clock, the job has been over for more than a second then
    assert told(call("db purge --older-than 1s --dry-run --json")[1]) == {**nothing, "history": 1, "removed": False}
    code, out, _ = call("db purge --older-than 1s")
    assert (code, out.splitlines()[0].split()) == (0, ["what", "removed"])
    assert told(call("db purge --older-than 1s --json")[1]) == {**nothing, "removed": True}
    assert told(call("jobs list --json")[1]) == []
    code, _, err = call("db purge --older-than soon")
    assert (code, "no duration" in err) == (2, True)


def test_token_create_prints_the_token_alone_on_stdout(call: Call) -> None:
    code, out, err = call("token create ann")
    assert code == 0
    assert out.startswith("nch_")
    assert len(out.split()) == 1
    assert "ann may read, for ever" in err
    code, out, _ = call("token list --json")
    [row] = told(out)
    assert (row["name"], row["scopes"], row["expires_at"]) == ("ann", ["read"], None)
    assert "token" not in row


def test_token_create_takes_scopes_and_an_end(call: Call) -> None:
    code, out, _ = call("token create ann --scope shop.* --scope operate --expires 90d --json")
    made = told(out)
    assert code == 0
    assert set(made) == {"id", "token", "scopes", "expires_at"}
    assert made["scopes"] == ["operate", "shop.*"]
    assert made["expires_at"].endswith("Z")
    code, out, _ = call("token create ann --json")
    assert (code, told(out)["error"]["code"]) == (1, "store.conflict")


@pytest.mark.parametrize(
    "options", ["--scope Admin", "--scope shop", "--scope *", "--expires 90", "--expires 0d", "--expires 9999w"]
)
def test_token_create_refuses_what_it_does_not_know(call: Call, options: str) -> None:
    code, out, _ = call(f"token create ann {options} --json")
    assert (code, told(out)["error"]["code"]) == (2, "cli.usage")
    assert told(call("token list --json")[1]) == []


def test_token_revoke_takes_an_id_or_a_name_once(call: Call) -> None:
    made = told(call("token create ann --json")[1])
    assert call(f"token revoke {made['id']}")[:2] == (0, f"revoked {made['id']}\n")
    code, _, err = call("token revoke ann")
    assert code == 1
    assert "no live token 'ann'" in err
    assert call("token create ann")[0] == 0
    assert call("token revoke ann")[0] == 0


def test_a_database_that_is_away_is_exit_69(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("NOCOHOST_DATABASE__WAIT_SECONDS", "0.1")
    code, out, _ = call("db status --json")
    assert (code, told(out)["error"]["code"]) == (69, "store.unavailable")
