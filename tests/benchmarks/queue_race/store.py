"""What is behind a contestant: every round gets an empty store, a copy of what the contestant prepared once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class MissingError(Exception):
    """What a contestant needs is not on this machine; the message says what, and how to get it."""


class Store(Protocol):
    """Where one kind of contestant keeps its jobs."""

    facts: Mapping[str, str]

    def empty(self, name: str) -> str:
        """Make an empty store for the contestant ``name`` and return its URL."""

    def keep(self, name: str, url: str) -> None:
        """Keep what is in that store now, for ``fresh``; nobody is connected to it."""

    def fresh(self, name: str) -> str:
        """Make a store with what was kept and return its URL."""


class SqliteStore:
    """A file for each contestant, where the benchmark keeps its data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts = {"synchronous": "FULL", "journal_mode": "WAL"}

    def empty(self, name: str) -> str:
        """Delete the file and what lies beside it."""
        for file in self._folder.glob(f"{name}.sqlite*"):
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
        return f"sqlite:///{self._folder / name}.sqlite"

    def keep(self, name: str, url: str) -> None:
        """Copy the file, whose last connection has folded the log into it."""
        shutil.copy(self._folder / f"{name}.sqlite", self._folder / f"{name}.kept")

    def fresh(self, name: str) -> str:
        """Copy it back."""
        url = self.empty(name)
        shutil.copy(self._folder / f"{name}.kept", self._folder / f"{name}.sqlite")
        return url
