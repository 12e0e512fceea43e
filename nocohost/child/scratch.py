"""Temporary files of children: a folder for each child, which goes when the child does, whatever it has died of.

A child that is killed clears up nothing itself. Its node removes its folder; what a killed node has left is removed by
the next one that starts on the machine.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "nocohost-node-"
"""Of the folders of nodes, in the machine's folder for temporary files. Each is locked as long as its node lives."""
UNLOCKED_PREFIX = "nocohost-new-"


class Scratch:
    """The folder of this node; made when it is first wanted, removed by ``close``."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._lock: int | None = None

    def take(self) -> Path | None:
        """Return a new folder for one child; None where none can be made, and files go where they else would."""
        with suppress(OSError):
            if self._folder is None or not self._folder.is_dir():
                self.close()
                self._make()
            return Path(tempfile.mkdtemp(prefix="child-", dir=self._folder))
        return None

    def close(self) -> None:
        """Remove the folder, with all that is left in it."""
        if self._folder is not None:
            remove_folder(self._folder)
        if self._lock is not None:
            os.close(self._lock)
        self._folder = self._lock = None

    def _make(self) -> None:
        """Make the folder, which has its name only once it is locked: nobody takes it for a dead node's before."""
        self._folder = Path(tempfile.mkdtemp(prefix=UNLOCKED_PREFIX))
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        name = self._folder.name.replace(UNLOCKED_PREFIX, PREFIX)
        self._folder = self._folder.rename(self._folder.with_name(name))


def remove_folder(folder: Path) -> None:
    """Remove a folder as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch() -> int:
    """Remove the folders of nodes of this user that live no more; return how many those were."""
    swept = 0
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            swept += _remove_if_left(folder)
    return swept


def _remove_if_left(folder: Path) -> bool:
    """Remove ``folder`` if nobody holds it; a link, or the folder of another user, is not ours to touch."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(held).st_uid != os.geteuid():
            return False
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_folder(folder)
    except OSError:
        return False
    finally:
        os.close(held)
    return True
