"""Imports modules one by one, each in a process of its own, and prints what an import did besides defining names.

Run as ``python import_probe.py FOLDER MODULE...``; prints one offence per line. A deed is blamed on the module whose
code did it, directly or through a library it called; what a library does while it is itself imported is its own affair.
"""

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

LIBRARIES = ("aiohttp.web", "alembic.command", "click", "cronsim", "pluggy", "prometheus_client", "psutil",
             "pydantic.types", "pytest", "sqlalchemy.dialects.sqlite.aiosqlite", "sqlalchemy.ext.asyncio", "structlog",
             "yaml")  # fmt: skip
"""Loaded once before the forks, so that a hundred imports take seconds."""

DEEDS = {
    "socket.__new__": "opens a socket",
    "socket.bind": "binds a socket",
    "socket.connect": "connects a socket",
    "subprocess.Popen": "starts a process",
    "os.fork": "forks",
    "os.putenv": "writes the environment",
    "sqlite3.connect": "opens a database",
    "os.mkdir": "makes a folder",
    "os.remove": "removes a file",
}

LIBRARY_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG", "PYDANTIC_DISABLE_PLUGINS")
"""Read by click for its own words when a command is defined, and by pydantic when the first model is."""


def main(folder: str, names: list[str]) -> None:
    """Probe each module in a child of its own."""
    sys.path.insert(0, folder)
    for library in LIBRARIES:
        importlib.import_module(library)
    for name in names:
        child = os.fork()
        if child == 0:
            probe(folder, name)
        _, status = os.waitpid(child, 0)
        if status:
            print(f"{name}: the import ends the process (status {status})")


def probe(folder: str, name: str) -> None:
    """Import one module, print its offences, leave."""
    offences: list[str] = []
    watch(folder, offences)
    before = state()
    try:
        importlib.import_module(name)
    except BaseException as error:
        offences.append(f"cannot be imported first: {error!r}")
    after = state()
    offences += [f"changes {what}" for what, value in after.items() if value != before[what]]
    for offence in dict.fromkeys(offences):
        print(f"{name}: {offence}")
    sys.stdout.flush()
    os._exit(0)


def state() -> dict[str, object]:
    """Return what an import must leave as it was."""
    loggers = [
        logging.root,
        *(log for log in logging.root.manager.loggerDict.values() if isinstance(log, logging.Logger)),
    ]
    return {
        "the threads": sorted(thread.name for thread in threading.enumerate()),
        "logging": [
            (log.name, log.level, list(log.handlers)) for log in loggers if log.handlers or log is logging.root
        ],
        "signal handlers": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)],
        "the environment": dict(os.environ),
        "the working directory": Path.cwd(),
    }


def watch(folder: str, offences: list[str]) -> None:
    """Write down every deed from now on that code below ``folder`` is to blame for."""

    def note(deed: str) -> None:
        frame = blamed(folder)
        if frame is not None:
            offences.append(f"{os.path.relpath(frame.f_code.co_filename, folder)}:{frame.f_lineno} {deed}")

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in DEEDS:
            note(DEEDS[event])
        elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            note("writes a file")

    class Watched(type(os.environ)):  # type: ignore[misc]
        def __getitem__(self, key: str) -> str:
            if key not in LIBRARY_VARIABLES:
                note("reads the environment")
            return super().__getitem__(key)  # type: ignore[no-any-return]

        def __iter__(self) -> Iterator[str]:
            note("reads the environment")
            return super().__iter__()  # type: ignore[no-any-return]

    os.environ.__class__ = Watched
    sys.addaudithook(audit)


def blamed(folder: str) -> FrameType | None:
    """Return the innermost frame of our code, unless an import lies between: then a library did it."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(folder + os.sep) and file != __file__:
            return frame
        if file.startswith("<frozen importlib"):
            return None
        frame = frame.f_back
    return None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
