"""The processes of a contestant: the ones that serve, each in a session of its own, and the client that is asked."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

STOP_SECONDS = 10.0


class FailedError(Exception):
    """A contestant did not do what it was asked; the message has the end of its log."""


class AbsentError(Exception):
    """A contestant has no such thing."""


class Serving:
    """One serving process and the processes it has started; ``options`` are those of ``subprocess.Popen``."""

    def __init__(self, command: Sequence[str], options: Mapping[str, Any]) -> None:
        self._command = command
        self._options = options
        self.started_at = time.monotonic_ns()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)

    def again(self) -> "Serving":
        """Start another one like it."""
        return Serving(self._command, self._options)

    def holds(self, process: int) -> bool:
        """Tell whether ``process`` is it or one of its own."""
        return any(one.pid == process for one in self.family())

    def family(self) -> list[psutil.Process]:
        """Return it and its own, itself first."""
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: int) -> None:
        """Send a signal to it and to its own."""
        for one in self.family():
            try:
                one.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def kill(self) -> None:
        """Kill it and its own, as a power cut would, and wait for its end."""
        self.signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def serving(commands: Sequence[Sequence[str]], environment: Mapping[str, str], folder: Path) -> Iterator[list[Serving]]:
    """Run a process for each command within the block; processes that the block puts into the list are ended, too."""
    with (folder / "log").open("ab") as log:
        options = {"env": environment, "cwd": folder, "stdout": log, "stderr": log}
        processes = [Serving(command, options) for command in commands]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()


class Client:
    """The client process of a contestant: asked one thing after the other."""

    def __init__(self, python: str, driver: str, environment: Mapping[str, str], folder: Path) -> None:
        self._log = folder / "client.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "contestant.client", driver],
                env=environment,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Have one thing done and return the answer; raises ``AbsentError`` and ``FailedError``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"action": action, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise FailedError(self._end_of_log()) from None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise FailedError(f"{action}: {self._end_of_log()}")
        answer: dict[str, Any] = json.loads(line)
        if "absent" in answer:
            raise AbsentError(answer["absent"])
        return answer

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _end_of_log(self) -> str:
        return end_of_log(self._log)


def end_of_log(file: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(file.read_text(errors="replace").splitlines()[-12:]) if file.exists() else ""


def environment_of(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process without settings that concern a contestant or its interpreter."""
    dropped = ("NOCOHOST_", "RACE_", "WORKER_MODE", "DATABASE_URL", "PORT", "PYTHON", "VIRTUAL_ENV")
    return {name: text for name, text in os.environ.items() if not name.startswith(dropped)} | dict(more)
