"""Hints between the processes that share a SQLite file: lines at the end of a file beside it.

SQLite tells nobody of changes. A file that holds hints alone says who wrote what, and is at rest while none is sent;
the write-ahead log would wake every node for each beat of another. Neither the database nor its ``-shm`` is opened
here: to close these would drop the locks of this process.
"""

import os
from collections.abc import Callable, Sequence

from nocohost.api.log import Log
from nocohost.store.file_watch import FileWatch
from nocohost.store.subscribers import Heard, Outbox, Subscribers

LARGEST_BYTES = 1 << 20
"""A file that has grown so large is emptied; whoever reads it then looks at everything."""


class FileHints:
    """The ``Hints`` of a SQLite database; see ``nocohost.store.hints.Hints``."""

    def __init__(self, path: str, *, log: Log) -> None:
        self._path = path
        self._log = log
        self._subscribers = Subscribers()
        self._outbox = Outbox(self._write)
        self._file: int | None = None
        self._watch: FileWatch | None = None
        self._read_until = 0
        self._is_started = False
        self._is_away = False

    async def start(self) -> None:
        """Begin to listen."""
        self._is_started = True
        self._listen()

    async def stop(self) -> None:
        """Send what still waits and close the file."""
        self._outbox.close()
        self._is_started = False
        self._close()

    def send(self, topic: str, text: str) -> None:
        """Tell the other nodes."""
        self._outbox.put(topic, text)

    def subscribe(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Call ``heard`` for each hint of another node."""
        remove = self._subscribers.add(topic, heard)
        self._listen()
        return remove

    def _listen(self) -> None:
        """Read what is written from now on, if anybody listens."""
        if self._is_started and self._watch is None and self._subscribers:
            try:
                self._read_until = os.fstat(self._open()).st_size
                self._watch = FileWatch(self._path, self._look)
            except OSError as error:
                self._away(error)

    def _look(self) -> None:
        try:
            file = self._open()
            status = os.fstat(file)
            if not status.st_nlink:  # somebody removed the file
                self._close()
                self._listen()
                self._subscribers.catch_up()
            elif status.st_size != self._read_until:
                self._read(file, status.st_size)
        except OSError as error:
            self._away(error)

    def _read(self, file: int, size: int) -> None:
        start, self._read_until = self._read_until, size
        if size < start:
            self._subscribers.catch_up()
            return
        for line in os.pread(file, size - start, start).decode("ascii", "replace").splitlines():
            self._subscribers.deliver(line)

    def _write(self, hints: Sequence[tuple[str, str]]) -> None:
        lines = "".join(f"{self._subscribers.encode(topic, text)}\n" for topic, text in hints).encode("ascii")
        try:
            file = self._open()
            os.write(file, lines)
            size = os.fstat(file).st_size
            if size > LARGEST_BYTES:
                os.ftruncate(file, 0)
            elif size == self._read_until + len(lines):
                self._read_until = size  # nobody else has written meanwhile, so there is nothing to read
        except OSError as error:
            self._away(error)
        else:
            self._is_away = False
            self._listen()

    def _open(self) -> int:
        if self._file is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o644)
            self._read_until = os.fstat(self._file).st_size
        return self._file

    def _close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _away(self, error: OSError) -> None:
        if not self._is_away:
            self._is_away = True
            self._log.warning(
                "hints.away", file=self._path, reason=error.strerror, hint="until it can be written, nodes only poll"
            )
