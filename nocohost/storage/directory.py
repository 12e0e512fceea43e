"""Files in a directory, which every node must see: a disk of one machine, or a share of several.

A file is written under ``drafts`` and moved to its place when it is whole and on the disk. Its path is made of its id.
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from nocohost.api.errors import StorageError, StorageUnavailableError

T = TypeVar("T")
READ_BYTES = 1_048_576
OURS = 0o700
"""Nobody else on the machine has business in here."""


class DirectoryShelf:
    """Implements ``nocohost.storage.shelf.Shelf``. The directory is made when it is first written to."""

    name = "file"

    def __init__(self, root: Path) -> None:
        self._root = root

    async def open(self, file_id: str) -> "FileDraft":
        """Begin the file of this id."""
        return FileDraft(self._root / "drafts" / file_id, self._place(file_id))

    async def read(self, file_id: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` until before ``end``."""
        what = f"read from {self._root}"
        try:
            descriptor = await _opened(self._place(file_id), what)
        except FileNotFoundError as error:
            raise StorageUnavailableError(
                f"the file {file_id} is not in {self._root}",
                hint="storage.url must name a directory that is the same for every node",
            ) from error
        try:
            while start < end:
                length, place = min(READ_BYTES, end - start), start
                piece = await _in_thread(lambda: os.pread(descriptor, length, place), what)  # noqa: B023 - awaited here
                if not piece:
                    raise StorageError(f"the file {file_id} is shorter than it was")
                yield piece
                start += len(piece)
        finally:
            os.close(descriptor)

    async def erase(self, file_id: str) -> None:
        """Delete the file and the draft of it."""

        def unlink() -> None:
            (self._root / "drafts" / file_id).unlink(missing_ok=True)
            self._place(file_id).unlink(missing_ok=True)

        await _in_thread(unlink, f"erase from {self._root}")

    def _place(self, file_id: str) -> Path:
        return self._root / file_id[-2:] / file_id  # an id begins with the time: its end spreads evenly


class FileDraft:
    """A file that is being written to the disk; implements ``nocohost.storage.shelf.Draft``.

    A cancelled writer leaves a thread at work: every step holds ``_lock``, and none is taken once ``_is_over``.
    """

    def __init__(self, draft: Path, place: Path) -> None:
        self._draft = draft
        self._place = place
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._is_over = False

    async def write(self, piece: bytes) -> None:
        """Add a piece."""
        await _in_thread(lambda: self._write_all(piece), self._what)

    async def finish(self) -> None:
        """Put the file in its place, for good."""
        try:
            await _in_thread(self._finish, self._what)
        except FileNotFoundError as error:
            raise StorageError(f"the draft {self._draft.name} was not finished in time and has been swept") from error

    async def abandon(self) -> None:
        """Close and delete the draft."""
        await asyncio.to_thread(self._abandon)

    @property
    def _what(self) -> str:
        return f"write to {self._draft.parent.parent}"

    def _write_all(self, piece: bytes) -> None:
        with self._lock:
            left = memoryview(piece)
            while left and not self._is_over:
                left = left[self._opened().write(left) :]

    def _finish(self) -> None:
        with self._lock:
            if self._is_over:
                return
            file, self._is_over = self._opened(), True
            with file:
                os.fsync(file.fileno())
            self._draft.rename(self._place)
            _sync_folder(self._place.parent)

    def _abandon(self) -> None:
        with self._lock, suppress(OSError):
            self._is_over = True
            if self._file is not None:
                self._file.close()
                self._draft.unlink(missing_ok=True)

    def _opened(self) -> FileIO:
        if self._file is None:
            for folder in (self._draft.parent, self._place.parent):
                folder.mkdir(mode=OURS, parents=True, exist_ok=True)
            self._file = self._draft.open("xb", buffering=0)
        return self._file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _opened(place: Path, what: str) -> int:
    """Open a file for reading; a handle that comes when nobody waits for it any more is closed at once."""
    opening = asyncio.create_task(_in_thread(lambda: os.open(place, os.O_RDONLY | os.O_CLOEXEC), what))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unused)
        raise


def _close_unused(opening: "asyncio.Task[int]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


async def _in_thread(call: Callable[[], T], what: str) -> T:
    with _told(what):
        return await asyncio.to_thread(call)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "make room, or let storage.url name another place" if full else "see storage.url"
        raise StorageUnavailableError(f"cannot {what}: {error.strerror or error}", hint=hint) from error
