"""Files in a bucket of S3, or of anything that speaks as S3 does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from nocohost.api.errors import ConfigError, StorageUnavailableError

PART_BYTES = 8_388_608
"""A part of an upload; S3 takes 10,000 of them, none but the last smaller than 5 MiB."""
PARTS_AT_ONCE = 2
READ_BYTES = 1_048_576
CONNECT_SECONDS, REQUEST_SECONDS, RETRIES = 5, 30, 3
OPTIONS = ("endpoint", "region", "virtual_hosted_style_request")


class BucketShelf:
    """Implements ``nocohost.storage.shelf.Shelf``. Nothing is connected before the first use.

    ``url`` is ``s3://[key:secret@]bucket[/prefix][?endpoint=…&region=…]``; without a key the library looks where AWS
    says: in its variables, and at the machine's own role. Raises ``ConfigError`` for a URL that cannot be.
    """

    name = "s3"

    def __init__(self, url: str) -> None:
        self._store, self.shown = _open(url)

    async def open(self, file_id: str) -> "UploadDraft":
        """Begin the file of this id; what a crash leaves of an upload is the bucket's to expire."""
        import obstore

        with _told(self.shown):
            writer = obstore.open_writer_async(
                self._store, file_id, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )
        return UploadDraft(writer, self.shown)

    async def read(self, file_id: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` until before ``end``."""
        import obstore

        if start >= end:
            return
        with _told(self.shown):
            found = await obstore.get_async(self._store, file_id, options={"range": (start, end)})
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    async def erase(self, file_id: str) -> None:
        """Delete the object of the file."""
        import obstore

        with _told(self.shown), suppress(FileNotFoundError, obstore.exceptions.NotFoundError):
            await obstore.delete_async(self._store, file_id)


class UploadDraft:
    """A file on its way into a bucket, where it shows once it is whole; implements ``nocohost.storage.shelf.Draft``."""

    def __init__(self, writer: Any, shown: str) -> None:
        self._writer = writer
        self._shown = shown

    async def write(self, piece: bytes) -> None:
        """Add a piece."""
        with _told(self._shown):
            await self._writer.write(piece)

    async def finish(self) -> None:
        """End the upload, which makes an object of it."""
        with _told(self._shown):
            await self._writer.close()

    async def abandon(self) -> None:
        """Never end the upload, so that it makes no object."""
        self._writer = None


def _open(url: str) -> tuple[Any, str]:
    """Return obstore's store for ``url``, and the URL as people may see it."""
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise ConfigError(
            "storage.url needs obstore, which is not installed", hint="pip install 'nocohost[s3]'"
        ) from error
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise ConfigError(f"storage.url: {unknown[0]!r} is no option", hint=f"one of: {', '.join(OPTIONS)}")
    if not parts.hostname:
        raise ConfigError("storage.url names no bucket", hint="s3://bucket/prefix?endpoint=https://...")
    if parts.username and parts.password:
        options["access_key_id"] = unquote(parts.username)
        options["secret_access_key"] = unquote(parts.password)
    prefix = parts.path.strip("/")
    store = S3Store(
        parts.netloc.rpartition("@")[2],
        prefix=prefix or None,
        config=cast("Any", options),
        client_options={
            "allow_http": options.get("endpoint", "").startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=REQUEST_SECONDS)},
    )
    return store, f"s3://{parts.hostname}/{prefix}".rstrip("/")


@contextmanager
def _told(shown: str) -> Iterator[None]:
    """Raise what the library raises as errors of ours; its texts hold URLs, but no secrets."""
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise StorageUnavailableError(f"{shown} has no such bucket or object", hint="see storage.url") from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise StorageUnavailableError(f"{shown} refuses the key that it was shown", hint="see storage.url") from error
    except (BaseError, OSError) as error:
        raise StorageUnavailableError(f"{shown} is away: {_first_line(error)}", hint="see storage.url") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:500]
