"""Settings: precedence, origins, all faults at once, warnings, and nothing secret shown."""

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from nocohost.api.errors import SettingError
from nocohost.node.settings import Settings, Timing, declared_settings, load_settings

VALID: Mapping[str, tuple[str, object]] = {
    # setting: what the environment says, what it means
    "worker_mode": ("!,shop:invoice", "!,shop:invoice"),
    "node_name": ("web-1", "web-1"),
    "data_dir": ("/var/lib/nocohost", Path("/var/lib/nocohost")),
    "external_keys": ("mail:send, mail:read,,mail:send", ("mail:send", "mail:read")),
    "require_mode": ("1", True),
    "admin_token": ("nch_0123456789abcdef", SecretStr("nch_0123456789abcdef")),
    "import_seconds": ("1.5", 1.5),
    "drain_seconds": ("0", 0.0),
    "drain_ready_seconds": ("2", 2.0),
    "database.url": ("postgresql://db/shop", "postgresql://db/shop"),
    "database.upgrade": ("off", False),
    "database.wait_seconds": ("5", 5.0),
    "database.pool_size": ("3", 3),
    "database.synchronous": ("NORMAL", "normal"),
    "http.host": ("::1", "::1"),
    "http.port": ("0", 0),
    "http.allowed_hosts": ("shop.example,www.shop.example", ("shop.example", "www.shop.example")),
    "http.body_bytes": ("10", 10),
    "http.header_seconds": ("3", 3.0),
    "http.body_seconds": ("4", 4.0),
    "http.idle_seconds": ("5", 5.0),
    "http.access_log": ("true", True),
    "admin.host": ("localhost", "localhost"),
    "admin.port": ("9000", 9000),
    "queue.profile": ("fast", "fast"),
    "queue.poll_seconds": ("0.2", 0.2),
    "queue.spare_children": ("3", 3),
    "queue.unserved": ("Refuse", "refuse"),
    "queue.payload_bytes": ("100", 100),
    "queue.history_seconds": ("0", 0.0),
    "storage.url": ("s3://bucket/files", "s3://bucket/files"),
    "storage.max_file_mib": ("5", 5),
    "log.level": ("DEBUG", "debug"),
    "log.format": ("json", "json"),
}
INVALID: Mapping[str, str] = {
    "node_name": "a\nb",
    "data_dir": "~/data",
    "external_keys": "Mail:send",
    "require_mode": "maybe",
    "admin_token": "with\nnewline",
    "import_seconds": "0",
    "drain_seconds": "-1",
    "drain_ready_seconds": "26",
    "database.url": "mysql://db/shop",
    "database.upgrade": "perhaps",
    "database.wait_seconds": "nan",
    "database.pool_size": "0",
    "database.synchronous": "off",
    "http.host": "http://host",
    "http.port": "65536",
    "http.body_bytes": "1 MiB",
    "http.header_seconds": "inf",
    "http.body_seconds": "-3",
    "http.idle_seconds": "",
    "http.access_log": "2",
    "admin.host": "a b",
    "admin.port": "-1",
    "queue.profile": "slow",
    "queue.poll_seconds": "0",
    "queue.spare_children": "-1",
    "queue.unserved": "drop",
    "queue.payload_bytes": "-5",
    "queue.history_seconds": "a week",
    "storage.url": "ftp://server",
    "storage.max_file_mib": "0",
    "log.level": "loud",
    "log.format": "xml",
}


def variable(name: str) -> str:
    return "WORKER_MODE" if name == "worker_mode" else f"NOCOHOST_{name.replace('.', '__').upper()}"


def value_of(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def faults(environ: Mapping[str, str], **flags: object) -> tuple[str, ...]:
    with pytest.raises(SettingError) as caught:
        load_settings(environ, flags=flags)
    return tuple(caught.value.faults)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no ``nocohost.toml`` lies."""
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_tried_here() -> None:
    assert list(VALID) == [setting.name for setting in declared_settings()]
    assert all(setting.meaning for setting in declared_settings())


def test_defaults() -> None:
    settings = load_settings({}).settings
    assert settings == Settings()
    assert settings.node_name == socket.gethostname()
    assert (settings.http.host, settings.http.port, settings.admin.port) == ("127.0.0.1", 8787, None)
    assert settings.database_url == "sqlite:///nocohost-data/nocohost.sqlite"
    assert set(load_settings({}).origins.values()) == {"default"}


@pytest.mark.parametrize("name", VALID)
def test_each_setting_is_read_from_its_variable(name: str) -> None:
    text, meant = VALID[name]
    loaded = load_settings({variable(name): text})
    assert value_of(loaded.settings, name) == meant
    assert loaded.origins[name] == variable(name)
    assert [other for other, origin in loaded.origins.items() if origin != "default"] == [name]
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", [name for name, text in INVALID.items() if text])
def test_each_setting_refuses_what_makes_no_sense(name: str) -> None:
    (fault,) = faults({variable(name): INVALID[name]})
    assert fault.startswith(f"{variable(name)}: ")
    assert "should" in fault


def test_all_faults_are_reported_together() -> None:
    environ = {variable(name): text for name, text in INVALID.items() if text and name != "drain_ready_seconds"}
    told = faults(environ | {"NOCOHOST_HTTP__IDLE_SECONDS_FILE": "/does/not/exist"})
    for name in environ:
        assert sum(fault.startswith(f"{name}: ") for fault in told) == 1
    assert len(told) == len(environ) + 1


def test_an_empty_variable_is_one_that_is_not_set_except_the_mode() -> None:
    loaded = load_settings(
        {"NOCOHOST_HTTP__PORT": "", "DATABASE_URL": "", "NOCOHOST_ADMIN_TOKEN": "", "WORKER_MODE": ""}
    )
    assert loaded.settings.http.port == 8787
    assert loaded.settings.admin_token is None
    assert loaded.settings.worker_mode == ""
    assert loaded.origins["worker_mode"] == "WORKER_MODE"


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text('node_name = "file"\n[http]\nport = 1\nhost = "127.0.0.3"\n[admin]\nport = 4\n')
    loaded = load_settings(
        {"NOCOHOST_HTTP__PORT": "2", "NOCOHOST_ADMIN__PORT": "5"},
        flags={"http.port": 3, "admin.port": None, "data_dir": Path("here")},
        file=file,
    )
    settings, origins = loaded.settings, loaded.origins
    assert (settings.http.port, origins["http.port"]) == (3, "flag")
    assert (settings.admin.port, origins["admin.port"]) == (5, "NOCOHOST_ADMIN__PORT")
    assert (settings.http.host, origins["http.host"]) == ("127.0.0.3", str(file))
    assert (settings.node_name, origins["node_name"]) == ("file", str(file))
    assert (settings.data_dir, origins["data_dir"]) == (Path("here"), "flag")
    assert origins["log.level"] == "default"


def test_the_file_is_named_by_the_environment_or_lies_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "nocohost.toml").write_text('worker_mode = "!"\n')
    assert load_settings({}).settings.worker_mode == "!"
    assert load_settings({}).origins["worker_mode"] == "nocohost.toml"
    assert load_settings({"WORKER_MODE": ""}).settings.worker_mode == ""
    (tmp_path / "other.toml").write_text('worker_mode = "*"\n')
    assert load_settings({"NOCOHOST_CONFIG": "other.toml"}).settings.worker_mode == "*"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = ", "nocohost.toml: Invalid value"),
        (b"\xff", "nocohost.toml: is not UTF-8 text"),
        (b'plugins = "x"', "nocohost.toml: plugins should hold one table for each plugin"),
        (b"[plugins]\nshop = 1", "nocohost.toml: plugins should hold one table for each plugin"),
        (b"[http]\nport = 'x'", "http.port (nocohost.toml): 'x' should be a valid integer"),
        (b"[http.port]\nx = 1", "http.port (nocohost.toml): \"{'x': 1}\" should be a valid integer"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "nocohost.toml").write_bytes(content)
    (fault,) = faults({})
    assert fault.startswith(told)


def test_a_file_that_is_named_and_missing_is_a_fault() -> None:
    assert faults({"NOCOHOST_CONFIG": "none.toml"}) == ("none.toml: No such file or directory",)


def test_what_the_file_says_beyond_settings_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "nocohost.toml").write_text("http = 3\n[htp]\nport = 1\n[log]\nlevle = 'info'\n")
    assert load_settings({}).warnings == (
        "nocohost.toml: http is no setting; did you mean http.port?",
        "nocohost.toml: htp.port is no setting; did you mean http.port?",
        "nocohost.toml: log.levle is no setting; did you mean log.level?",
    )


def test_lists_in_a_file_are_lists(tmp_path: Path) -> None:
    (tmp_path / "nocohost.toml").write_text('external_keys = ["mail:send", "mail:read"]\n')
    assert load_settings({}).settings.external_keys == ("mail:send", "mail:read")


def test_a_flag_that_names_no_setting_is_a_fault() -> None:
    assert faults({}, **{"http.prot": 1}) == ("flag 'http.prot' sets nothing",)


def test_platform_variables_are_fallbacks() -> None:
    loaded = load_settings({"DATABASE_URL": "postgres://u:p@db/shop", "PORT": "80"})
    assert loaded.settings.database_url == "postgresql://u:p@db/shop"
    assert loaded.settings.http.port == 80
    assert (loaded.origins["database.url"], loaded.origins["http.port"]) == ("DATABASE_URL", "PORT")
    ours = {"NOCOHOST_DATABASE__URL": "sqlite:///x.db", "NOCOHOST_HTTP__PORT": "81"}
    loaded = load_settings({"DATABASE_URL": "postgresql://db/shop", "PORT": "80", **ours})
    assert (loaded.settings.database_url, loaded.settings.http.port) == ("sqlite:///x.db", 81)
    assert faults({"PORT": "http"}) == ("http.port (PORT): 'http' should be a valid integer",)


@pytest.mark.parametrize(
    "url", ["sqlite:///x.db", "sqlite+aiosqlite:///x.db", "postgresql+psycopg://db/x", "postgresql://db/x"]
)
def test_database_urls(url: str) -> None:
    assert load_settings({"NOCOHOST_DATABASE__URL": url}).settings.database_url == url


def test_the_default_database_lies_in_the_data_directory() -> None:
    settings = load_settings({"NOCOHOST_DATA_DIR": "/var/lib/noco host"}).settings
    assert settings.database_url == "sqlite:////var/lib/noco host/nocohost.sqlite"


def test_any_setting_may_come_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nch_0123456789abcdef\r\n")
    (tmp_path / "mode").write_text("!\n")
    (tmp_path / "url").write_text("postgresql://db/shop\n\n")
    loaded = load_settings(
        {"NOCOHOST_ADMIN_TOKEN_FILE": "token", "WORKER_MODE_FILE": "mode", "DATABASE_URL_FILE": "url"}
    )
    assert loaded.settings.admin_token == SecretStr("nch_0123456789abcdef")
    assert loaded.origins["admin_token"] == "NOCOHOST_ADMIN_TOKEN_FILE"
    assert loaded.settings.worker_mode == "!"
    assert loaded.settings.database_url == "postgresql://db/shop"
    assert loaded.warnings == ()


def test_files_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    told = faults(
        {
            "NOCOHOST_ADMIN_TOKEN_FILE": "none",
            "NOCOHOST_NODE_NAME_FILE": "large",
            "WORKER_MODE_FILE": "binary",
            "NOCOHOST_HTTP__HOST_FILE": ".",
        }
    )
    assert set(told) == {
        "NOCOHOST_ADMIN_TOKEN_FILE: 'none': No such file or directory",
        "NOCOHOST_NODE_NAME_FILE: 'large': larger than 65536 bytes",
        "WORKER_MODE_FILE: 'binary': is not UTF-8 text",
        "NOCOHOST_HTTP__HOST_FILE: '.': Is a directory",
    }


def test_a_value_and_its_file_together_are_a_fault() -> None:
    told = faults({"NOCOHOST_ADMIN_TOKEN": "a", "NOCOHOST_ADMIN_TOKEN_FILE": "b"})
    assert told == ("NOCOHOST_ADMIN_TOKEN and NOCOHOST_ADMIN_TOKEN_FILE are both set; keep one",)


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("NOCOHOST_HTTP__PROT", "NOCOHOST_HTTP__PROT is not read; did you mean NOCOHOST_HTTP__PORT?"),
        ("NOCOHOST_HTTP_PORT", "NOCOHOST_HTTP_PORT is not read; did you mean NOCOHOST_HTTP__PORT?"),
        ("nocohost_http__port", "nocohost_http__port is not read; did you mean NOCOHOST_HTTP__PORT?"),
        ("NOCOHOST_ADMIN_TOKN_FILE", "NOCOHOST_ADMIN_TOKN_FILE is not read; did you mean NOCOHOST_ADMIN_TOKEN_FILE?"),
        ("NOCOHOST_ZZZ", "NOCOHOST_ZZZ is not read"),
        ("NOCOHOST_PLUGINS__SHOP", "NOCOHOST_PLUGINS__SHOP is not read; write NOCOHOST_PLUGINS__<PLUGIN>__<FIELD>"),
        ("NOCOHOST_WORKER_MOD", "NOCOHOST_WORKER_MOD is not read; did you mean WORKER_MODE?"),
        ("NOCOHOST_WORKER_MODE", "NOCOHOST_WORKER_MODE is not read; did you mean WORKER_MODE?"),
        ("WORKERMODE", "WORKERMODE is not read; did you mean WORKER_MODE?"),
    ],
)
def test_names_that_are_not_read_are_warned_of(name: str, warning: str) -> None:
    assert load_settings({name: "x"}).warnings == (warning,)


def test_other_programs_variables_are_left_alone() -> None:
    assert load_settings({"PATH": "/bin", "NOCOBASE_X": "1", "WORKER_NODES": "3", "NOCOHOST_CONFIG": ""}).warnings == ()


def test_settings_of_plugins_are_kept_as_written(tmp_path: Path) -> None:
    (tmp_path / "nocohost.toml").write_text('[plugins.acme-shop]\ncurrency = "EUR"\nlimit = 5\n')
    loaded = load_settings(
        {
            "NOCOHOST_PLUGINS__ACME_SHOP__CURRENCY": "USD",
            "NOCOHOST_PLUGINS__ACME_SHOP__MAIL__HOST": "localhost",
            "NOCOHOST_PLUGINS__OTHER__X": "",
        }
    )
    assert loaded.settings.plugins == {"acme_shop": {"currency": "USD", "mail__host": "localhost", "limit": 5}}
    assert loaded.origins["plugins.acme_shop.currency"] == "NOCOHOST_PLUGINS__ACME_SHOP__CURRENCY"
    assert loaded.origins["plugins.acme_shop.limit"] == "nocohost.toml"


def test_the_profile_decides_the_timing() -> None:
    assert load_settings({}).settings.queue.timing == Timing(3.0, 15.0, 2.0, look_seconds=10.0)
    fast = load_settings({"NOCOHOST_QUEUE__PROFILE": "fast"}).settings.queue.timing
    assert fast == Timing(0.75, 3.0, 0.5, look_seconds=2.0)


def test_the_settings_are_frozen() -> None:
    settings = load_settings({}).settings
    with pytest.raises(ValidationError):
        settings.http.port = 1
    with pytest.raises(ValidationError):
        settings.node_name = "x"


def test_one_fault_is_the_message_and_several_are_counted() -> None:
    with pytest.raises(SettingError, match=r"^NOCOHOST_HTTP__PORT: 'x' should be a valid integer"):
        load_settings({"NOCOHOST_HTTP__PORT": "x"})
    with pytest.raises(SettingError, match=r"^2 settings are wrong: NOCOHOST_") as caught:
        load_settings({"NOCOHOST_HTTP__PORT": "x", "NOCOHOST_LOG__LEVEL": "x"})
    assert caught.value.code == "config.setting"
    assert len(caught.value.faults) == 2


@given(
    st.dictionaries(
        st.sampled_from([variable(name) for name in VALID]) | st.text(alphabet="NOCOHST_PLUGIX", max_size=20),
        st.text(max_size=20),
    )
)
def test_any_environment_is_read_or_refused_with_every_fault_on_a_printable_line(environ: dict[str, str]) -> None:
    try:
        loaded = load_settings({name: text for name, text in environ.items() if not name.endswith("_FILE")})
    except SettingError as error:
        told = list(error.faults)
    else:
        told = list(loaded.warnings)
    assert all(line.isprintable() for line in told if "NOCOHOST_" in line)
