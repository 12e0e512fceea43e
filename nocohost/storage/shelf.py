"""What may hold the bytes of files: a shelf. It knows ids and bytes; who may see what, and until when, is not its."""

from collections.abc import AsyncIterator
from typing import Protocol


class Draft(Protocol):
    """A file that is being written. It ends in ``finish`` or in ``abandon``, or is left behind by a crash."""

    async def write(self, piece: bytes) -> None:
        """Add a piece; pieces have about the same size, but the last."""

    async def finish(self) -> None:
        """Make sure that all of it is there and stays, whatever happens to this machine."""

    async def abandon(self) -> None:
        """Let go of what is open; what was written may stay until ``erase``. Never raises for what is gone."""


class Shelf(Protocol):
    """Raises ``StorageUnavailableError`` when it cannot be reached or is full, ``StorageError`` otherwise."""

    @property
    def name(self) -> str:
        """Return the word by which files remember where their bytes are."""

    async def open(self, file_id: str) -> Draft:
        """Begin the file of this id."""

    def read(self, file_id: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` until before ``end``, which the file has."""

    async def erase(self, file_id: str) -> None:
        """Erase what there is of the file, finished or not; nothing there is no error."""
