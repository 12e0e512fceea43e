"""The settings as frozen models: one place for type, default, limits and meaning."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from nocohost.api.keys import is_key

SCHEMES = ("sqlite", "postgresql")


def _split(value: Any) -> Any:
    """Read a comma-separated text as the list it stands for."""
    return tuple(dict.fromkeys(filter(None, map(str.strip, value.split(","))))) if isinstance(value, str) else value


def _lowered(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Wait = Annotated[float, Field(ge=0)]
Size = Annotated[int, Field(gt=0)]
Host = Annotated[str, Field(pattern=r"^[^\s/]+$")]


class Timing(NamedTuple):
    """How a node keeps its leases: it beats, and is taken for dead when it has not for ``lease_seconds``.

    ``look_seconds`` is how often it looks for work that nobody serves.
    """

    beat_seconds: float
    lease_seconds: float
    sweep_seconds: float
    look_seconds: float = 10.0


class Part(BaseModel):
    """One group of settings; frozen, and closed to names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class DatabaseSettings(Part):
    """The database that all nodes share."""

    url: str | None = Field(
        None, repr=False, description="URL of the database, sqlite:///… or postgresql://…; unset: SQLite in data_dir"
    )
    upgrade: bool = Field(True, description="upgrade the schema at start; off: start only on a current schema")
    wait_seconds: Wait = Field(60.0, description="how long a start waits for the database before it exits 69")
    pool_size: Size = Field(10, description="connections a node keeps to PostgreSQL")
    synchronous: Annotated[Literal["full", "normal"], BeforeValidator(_lowered)] = Field(
        "full", description="SQLite: full survives a power cut, normal may lose the last commits in one"
    )

    @field_validator("url")
    @classmethod
    def _scheme_is_known(cls, url: str | None) -> str | None:
        if url is None:
            return None
        scheme, sign, rest = url.partition("://")
        if not sign or scheme.partition("+")[0] not in (*SCHEMES, "postgres"):
            raise ValueError(f"should start with {' or '.join(f'{scheme}://' for scheme in SCHEMES)}")
        # Platforms that set DATABASE_URL write the scheme's old name.
        return f"postgresql://{rest}" if scheme == "postgres" else url


class HttpSettings(Part):
    """The main port, open where requests are served."""

    host: Host = Field("127.0.0.1", description="address to bind; beyond loopback only once an admin token exists")
    port: Port = Field(8787, description="port to bind; 0 for any free one")
    allowed_hosts: Words = Field((), description="names a request may give as Host, beside the address bound")
    body_bytes: Size = Field(1_048_576, description="largest request body that is read; more is answered 413")
    header_seconds: Seconds = Field(10.0, description="how long a client may take to send its request line and headers")
    body_seconds: Seconds = Field(30.0, description="how long a client may take to send its body")
    idle_seconds: Seconds = Field(75.0, description="how long a connection is kept open between requests")
    access_log: bool = Field(False, description="log one line for each request")


class AdminSettings(Part):
    """The admin port, open on every node: health and metrics."""

    host: Host = Field("127.0.0.1", description="address to bind for health and metrics")
    port: Port | None = Field(None, description="port to bind; 0 for any free one; unset: 8788, or the next free one")


class QueueSettings(Part):
    """The durable queue."""

    profile: Annotated[Literal["default", "fast"], BeforeValidator(_lowered)] = Field(
        "default", description="how soon the jobs of a dead node run elsewhere: default within 20 s, fast within 6 s"
    )
    poll_seconds: Seconds = Field(1.0, description="how often a node looks for work when nothing wakes it")
    spare_children: Annotated[int, Field(ge=0, le=64)] = Field(
        1, description="children a node keeps warm while its services with isolation process have work"
    )
    unserved: Annotated[Literal["park", "refuse"], BeforeValidator(_lowered)] = Field(
        "park", description="jobs that no live node serves: park keeps them with a warning, refuse does not take them"
    )
    payload_bytes: Size = Field(262_144, description="largest payload of a job, as JSON")
    history_seconds: Wait = Field(
        604_800.0, description="how long finished jobs are kept; dead letters are always kept"
    )

    @property
    def timing(self) -> Timing:
        """Return the beat, lease, sweep and look of the profile."""
        return Timing(0.75, 3.0, 0.5, 2.0) if self.profile == "fast" else Timing(3.0, 15.0, 2.0)


class StorageSettings(Part):
    """Where uploads and results are kept."""

    url: str | None = Field(
        None,
        repr=False,
        description="what holds stored files: database:, file:///… or s3://…; unset: data_dir, on PostgreSQL database:",
    )
    max_file_mib: Size = Field(1024, description="largest file that is stored, in MiB")

    @field_validator("url")
    @classmethod
    def _scheme_is_known(cls, url: str | None) -> str | None:
        if url is not None and url != "database:" and not url.startswith(("file:///", "s3://")):
            raise ValueError("should be database:, or start with file:/// or s3://")
        return url


class LogSettings(Part):
    """The log, written to standard output."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lowered)] = Field(
        "info", description="least important lines that are written: debug, info, warning or error"
    )
    format: Annotated[Literal["auto", "json", "console"], BeforeValidator(_lowered)] = Field(
        "auto", description="json, console, or auto: console on a terminal, else json"
    )


class Settings(Part):
    """Everything a node can be told, read once at start."""

    worker_mode: str | None = Field(None, description="what the node serves; see the modes reference")
    node_name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=200,
        description="what people call the node; unset: the name of its host",
    )
    data_dir: Path = Field(Path("nocohost-data"), description="directory of what the node keeps in files")
    external_keys: Words = Field((), description="service keys that other images serve: enqueued here, never served")
    require_mode: bool = Field(
        False, description="refuse to start without a worker mode; an unquoted ! in YAML is none"
    )
    admin_token: SecretStr | None = Field(
        None, description="token of the first admin; better given in a file, by NOCOHOST_ADMIN_TOKEN_FILE"
    )
    import_seconds: Seconds = Field(
        20.0, description="how long an entry point may take to import before it is left out"
    )
    drain_seconds: Wait = Field(25.0, description="how long a stopping node lets its jobs and requests finish")
    drain_ready_seconds: Wait | None = Field(
        None,
        description="how much of that it only reports not ready, for balancers to notice; unset: 5, or 0 on loopback",
    )
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    admin: AdminSettings = AdminSettings()
    queue: QueueSettings = QueueSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    plugins: dict[str, dict[str, Any]] = Field(
        default_factory=dict, repr=False, description="settings of plugins, as written; each plugin declares its own"
    )
    _plugin_files: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("node_name")
    @classmethod
    def _is_printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("should hold printable characters only")
        return name

    @field_validator("data_dir")
    @classmethod
    def _is_plain(cls, path: Path) -> Path:
        if str(path).startswith("~") or {"?", "\0"}.intersection(str(path)):
            raise ValueError("should be a plain path: '~' is not expanded, and '?' ends the path of a database URL")
        if any("\ud800" <= letter <= "\udfff" for letter in str(path)):  # how Python spells bytes that are no text
            raise ValueError("should be UTF-8 text")
        return path

    @field_validator("external_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [key for key in keys if not is_key(key)]
        if wrong:
            raise ValueError(f"should be service keys such as noun:verb, unlike {', '.join(map(repr, wrong))}")
        return keys

    @field_validator("admin_token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None:
            return None
        text = token.get_secret_value()
        if not (text.isascii() and text.isprintable()):
            raise ValueError("should hold printable ASCII characters only, since a request header carries it")
        if not text or text != text.strip():
            raise ValueError("should not be empty, nor begin or end with a blank: no request could show it")
        return token

    @field_validator("drain_ready_seconds")
    @classmethod
    def _is_part_of_the_drain(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and seconds > info.data.get("drain_seconds", seconds):
            raise ValueError("should be at most drain_seconds, of which it is a part")
        return seconds

    @property
    def plugin_files(self) -> Mapping[str, str]:
        """Return ``plugins.<plugin>.<field>`` -> path of the TOML file, for the settings that are written in one."""
        return self._plugin_files

    def note_plugin_files(self, files: Mapping[str, str]) -> None:
        """Remember where settings of plugins were written, for who tells what is wrong with them; asked at load."""
        self._plugin_files = dict(files)

    @property
    def database_url(self) -> str:
        """Return the URL of the database: the one that is set, or a SQLite file in ``data_dir``."""
        return self.database.url or f"sqlite:///{(self.data_dir / 'nocohost.sqlite').as_posix()}"
