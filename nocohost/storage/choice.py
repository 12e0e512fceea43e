"""Which shelf ``storage.url`` names."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nocohost.api.errors import ConfigError
from nocohost.storage.bucket import BucketShelf
from nocohost.storage.directory import DirectoryShelf
from nocohost.storage.shelf import Shelf
from nocohost.store.blobs import DatabaseShelf
from nocohost.store.database import SqlDatabase


def shelves_for(url: str | None, database: SqlDatabase, data_dir: Path) -> Sequence[Shelf]:
    """Return the shelf for new files first, then those that may hold older ones. Connects to nothing.

    Without a URL files are in a directory beside SQLite, and in the database on PostgreSQL, which every node reaches.
    Raises ``ConfigError`` for a URL that cannot be.
    """
    chunks, folder = DatabaseShelf(database), DirectoryShelf((data_dir / "files").absolute())
    if url is None:
        return (folder, chunks) if database.dialect == "sqlite" else (chunks, folder)
    scheme, _, rest = url.partition(":")
    if scheme == "database" and not rest:
        return chunks, folder
    if scheme == "file":
        return DirectoryShelf(_path(url)), chunks
    if scheme == "s3":
        return BucketShelf(url), chunks, folder
    raise ConfigError("storage.url is of no kind that is known", hint="database:, file:///folder or s3://bucket/prefix")


def _path(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or parts.query or parts.fragment:
        raise ConfigError("storage.url names no directory", hint="write an absolute path: file:///srv/files")
    return path
