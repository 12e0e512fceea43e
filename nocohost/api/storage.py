"""The door to stored files, uploads and results alike, as plugin code sees it."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Content = bytes | AsyncIterable[bytes] | Iterable[bytes]
"""What a file is made of: its bytes, or pieces of any size one after another."""
BINARY = "application/octet-stream"
UNKEPT_SECONDS = 86_400.0
"""How long a file is there that nobody keeps."""
MAX_FILE_NAME = 255
"""A longer name is cut, before its ending."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is stored, whole; what it holds never changes.

    ``name`` is what people call it and nothing else: control characters are gone from it, it may still be any text,
    and no path is ever made of it.
    """

    id: str
    name: str
    size: int
    media_type: str
    owner: str | None
    """The principal that it belongs to; None: only who may ``operate`` gets it over HTTP."""
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    """When it goes by itself; None: when it is removed."""


class Storage(Protocol):
    """Files, stored where ``storage.url`` says, the same for every node of the cluster.

    A file is made whole or not at all: nobody finds one before its last byte is stored, and what a crash leaves is
    swept. It lasts ``keep_seconds``, a day unless said otherwise: whoever refers to it in a row of their own calls
    ``keep`` in the transaction that writes this row, so that neither is ever without the other.

    Every method raises ``StorageError``: ``StorageUnavailableError`` when what holds the files cannot be reached or is
    full, ``StoredFileNotFoundError`` for an id that is no file's (or of one that has expired); and ``StoreError``.
    Whoever has the app is asked for no permission.
    """

    async def put(
        self,
        content: Content,
        *,
        name: str,
        media_type: str = BINARY,
        owner: str | None = None,
        keep_seconds: float | None = UNKEPT_SECONDS,
        max_bytes: int | None = None,
    ) -> StoredFile:
        """Store a file and return it, in memory that does not grow with it; ``keep_seconds`` None: until removed.

        Raises ``FileTooLargeError`` as soon as the content is longer than ``storage.max_file_mib``, or ``max_bytes``.
        An exception out of ``content`` passes, and nothing is stored.
        """

    def read(self, id: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:  # noqa: A002
        """Yield the bytes from ``start`` until before ``end`` (None: to the last), some hundred KiB at a time."""

    async def find(self, id: str, *, connection: "AsyncConnection | None" = None) -> StoredFile | None:  # noqa: A002
        """Return the file of this id; None without one."""

    async def keep(
        self,
        id: str,  # noqa: A002
        *,
        seconds: float | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> StoredFile:
        """Let the file last until it is removed, or ``seconds`` from now; with ``connection`` from its commit on."""

    async def remove(self, id: str, *, connection: "AsyncConnection | None" = None) -> bool:  # noqa: A002
        """Remove the file, with ``connection`` at its commit; return False without one.

        It is gone for everybody at once; its bytes are erased within two minutes.
        """
