"""``nocohost config show`` and ``nocohost config check``."""

import json
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import BaseModel, SecretStr

from nocohost import hookimpl
from nocohost.cli.main import execute
from nocohost.plugins.catalogue import catalogue_of
from nocohost.plugins.entry import DECLARATIONS, SERVICES, CatalogueEntry


class Colour(Enum):
    RED = "red"


class ShopSettings(BaseModel):
    """What a plugin may declare."""

    currency: str = "EUR"
    limit: int | None = None
    kind: Literal["a", "b"] = "a"
    names: list[str] = []
    smtp: SecretStr = SecretStr("")
    optional: SecretStr | None = None
    api_key: str = ""
    url: str = ""
    colour: Colour = Colour.RED


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("acme_declarations")

    @hookimpl
    def register_settings() -> type[BaseModel]:
        return ShopSettings

    module.register_settings = register_settings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_declarations", module)
    catalogue = catalogue_of(
        [
            CatalogueEntry(DECLARATIONS, "acme-shop", "acme", "1.0", "acme_declarations"),
            CatalogueEntry(DECLARATIONS, "broken", "acme-broken", "1.0", "no_such_module"),
            CatalogueEntry(SERVICES, "acme-shop:invoice", "acme", "1.0", "no_such_module"),
        ]
    )
    monkeypatch.setattr("nocohost.cli.config.read_catalogue", lambda: catalogue)
    monkeypatch.chdir(tmp_path)
    for name in ("WORKER_MODE", "DATABASE_URL", "PORT"):
        monkeypatch.delenv(name, raising=False)


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert execute(["config", "show", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def checked(capsys: pytest.CaptureFixture[str], code: int) -> Any:
    assert execute(["config", "check", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_config_show_tells_value_and_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_HTTP__PORT", "81")
    Path("nocohost.toml").write_text('external_keys = ["mail:send"]\n')
    rows = shown(capsys)
    assert rows["http.port"] == {
        "name": "http.port",
        "variable": "NOCOHOST_HTTP__PORT",
        "value": 81,
        "origin": "NOCOHOST_HTTP__PORT",
    }
    assert (rows["external_keys"]["value"], rows["external_keys"]["origin"]) == (["mail:send"], "nocohost.toml")
    assert (rows["worker_mode"]["value"], rows["worker_mode"]["origin"]) == (None, "default")
    assert execute(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith(("setting", "http.port", "require", "worker"))] == [
        ["setting", "value", "origin"],
        ["worker_mode", "(not", "set)", "default"],
        ["require_mode", "no", "default"],
        ["http.port", "81", "NOCOHOST_HTTP__PORT"],
    ]


def test_config_show_hides_secrets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_ADMIN_TOKEN", "s3cret-0123456789")
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop:s3cret@db/shop")
    for name in ("SMTP", "OPTIONAL", "API_KEY", "UNKNOWN"):
        monkeypatch.setenv(f"NOCOHOST_PLUGINS__ACME_SHOP__{name}", "s3cret")
    monkeypatch.setenv("NOCOHOST_PLUGINS__NOT_INSTALLED__X", "s3cret")
    monkeypatch.setenv("NOCOHOST_PLUGINS__ACME_SHOP__URL", "https://shop:s3cret@example.org/")
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        assert execute(arguments) == 0
        printed = capsys.readouterr()
        assert "s3cret" not in printed.out + printed.err
        assert "postgresql://shop:********@db/shop" in printed.out
        assert "https://shop:********@example.org/" in printed.out


@pytest.mark.parametrize(("name", "value"), [("CURRENCY", "USD"), ("LIMIT", "3"), ("KIND", "b"), ("NAMES", '["a"]')])
def test_config_show_shows_what_plugins_declare_and_what_is_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"NOCOHOST_PLUGINS__ACME_SHOP__{name}", value)
    row = shown(capsys)[f"plugins.acme_shop.{name.lower()}"]
    assert (row["value"], row["origin"]) == (value, f"NOCOHOST_PLUGINS__ACME_SHOP__{name}")


def test_config_show_of_wrong_settings_lists_every_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_HTTP__PORT", "x")
    monkeypatch.setenv("NOCOHOST_LOG__LEVEL", "x")
    assert execute(["config", "show"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "nocohost",
        "  NOCOHOST_HTTP__PORT",
        "  NOCOHOST_LOG__LEVEL",
    ]


def test_config_show_warns_of_names_nobody_reads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_HTTP__PROT", "1")
    assert execute(["config", "show", "--json"]) == 0
    printed = capsys.readouterr()
    assert "did you mean NOCOHOST_HTTP__PORT?" in printed.err
    assert json.loads(printed.out)


def test_config_check_of_a_good_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MODE", "acme-shop:*")
    told = checked(capsys, 0)
    assert told["faults"] == []
    assert any("broken" in warning and "quarantined" in warning for warning in told["warnings"])
    assert execute(["config", "check"]) == 0
    assert capsys.readouterr().out.endswith("\nok\n")


def test_config_check_judges_the_mode(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_MODE", "acme-shop:invoise")
    (fault,) = checked(capsys, 3)["faults"]
    assert fault["code"] == "mode.unknown_key"
    assert "acme-shop:invoice" in fault["message"]


def test_config_check_lists_the_faults_of_settings_plugins_and_mode_together(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MODE", "!,!!")
    monkeypatch.setenv("NOCOHOST_PLUGINS__ACME_SHOP__LIMIT", "many")
    monkeypatch.setenv("NOCOHOST_PLUGINS__ACME_SHOP__LIMTI", "3")
    told = checked(capsys, 3)
    assert [fault["code"] for fault in told["faults"]] == ["mode.malformed_term", "config.setting"]
    assert "NOCOHOST_PLUGINS__ACME_SHOP__LIMIT" in told["faults"][1]["message"]
    assert any("LIMTI" in warning for warning in told["warnings"])


def test_config_check_of_wrong_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCOHOST_HTTP__PORT", "x")
    monkeypatch.setenv("NOCOHOST_LOG__LEVEL", "x")
    assert [fault["code"] for fault in checked(capsys, 3)["faults"]] == ["config.setting"] * 2
    assert execute(["config", "check"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["error", "error", "warning", "problems"]
    assert lines[0].startswith("error    NOCOHOST_HTTP__PORT: 'x' should be")
    assert lines[-1] == "problems found"


def test_config_check_judges_the_rest_beside_a_wrong_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_HTTP__PORT", "x")
    monkeypatch.setenv("WORKER_MODE", "acme-shop:invoise")
    monkeypatch.setenv("NOCOHOST_PLUGINS__ACME_SHOP__LIMIT", "many")
    monkeypatch.setenv("NOCOHOST_LOG__LEVLE", "info")
    told = checked(capsys, 3)
    assert [fault["code"] for fault in told["faults"]] == ["config.setting", "mode.unknown_key", "config.setting"]
    assert "NOCOHOST_HTTP__PORT" in told["faults"][0]["message"]
    assert "NOCOHOST_PLUGINS__ACME_SHOP__LIMIT" in told["faults"][2]["message"]
    assert any("NOCOHOST_LOG__LEVLE" in warning for warning in told["warnings"])


def test_config_show_writes_whole_numbers_of_seconds_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_QUEUE__POLL_SECONDS", "0.5")
    assert execute(["config", "show"]) == 0
    values = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (values["drain_seconds"], values["queue.poll_seconds"]) == ("25", "0.5")


def test_a_file_is_judged_as_a_node_would_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shop.toml").write_text("[http]\nport = 81\n")
    assert execute(["config", "show", "--config", "shop.toml", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["http.port"]["value"], rows["http.port"]["origin"]) == (81, "shop.toml")
    Path("shop.toml").write_text("[http]\nport = 'x'\n")
    assert execute(["config", "check", "--config", "shop.toml"]) == 3
    assert "http.port (shop.toml)" in capsys.readouterr().out


def test_config_show_shows_the_defaults_of_what_plugins_declare(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_PLUGINS__ACME_SHOP__LIMIT", "3")
    told = {name: (row["value"], row["origin"]) for name, row in shown(capsys).items() if name.startswith("plugins.")}
    hidden = ("********", "default")
    assert {name.removeprefix("plugins.acme_shop."): row for name, row in told.items()} == {
        "currency": ("EUR", "default"),
        "limit": ("3", "NOCOHOST_PLUGINS__ACME_SHOP__LIMIT"),
        "kind": ("a", "default"),
        "names": ([], "default"),
        "smtp": hidden,
        "optional": (None, "default"),
        "api_key": hidden,
        "url": ("", "default"),
        "colour": ("Colour.RED", "default"),
    }


def test_a_fault_of_a_plugins_setting_names_the_key_and_the_file_it_stands_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("nocohost.toml").write_text('[plugins.acme-shop]\nLimit = "many"\nlimti = 3\n')
    told = checked(capsys, 3)
    assert told["faults"][0]["message"].startswith("plugins.acme_shop.limit (nocohost.toml): ")
    assert any(warning.startswith("plugins.acme_shop.limti (nocohost.toml): ") for warning in told["warnings"])
    assert "NOCOHOST_PLUGINS__" not in str(told)


def test_a_variable_is_stronger_than_a_file_however_its_key_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCOHOST_PLUGINS__ACME_SHOP__CURRENCY", "USD")
    Path("nocohost.toml").write_text('[plugins.acme_shop]\nCurrency = "CHF"\n')
    assert shown(capsys)["plugins.acme_shop.currency"]["value"] == "USD"
