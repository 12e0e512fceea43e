"""Files of the machine on which a command runs: brought to every node, and taken from there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from nocohost import App, StoredFile

PIECE_BYTES = 256 * 1024


class OutputFile(click.Path):
    """An option that names a file to be written, in a folder that is there."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; refuses one in a folder that is not there, before any work is done for it."""
        path = super().convert(value, param, ctx)
        assert isinstance(path, Path)
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}", param, ctx)
        return path


async def upload_file(app: App, file: Path, owner: str) -> StoredFile:
    """Store a file of this machine, so that every node can read it."""

    async def pieces() -> AsyncIterator[bytes]:
        with file.open("rb") as opened:
            while piece := opened.read(PIECE_BYTES):
                yield piece

    return await app.storage.put(pieces(), name=file.name, owner=owner)


async def write_file(content: AsyncIterator[bytes], name: str, output: Path | None) -> None:
    """Write ``content`` to ``output``, whole or not at all; without it to ``name``, here, which must not be there."""
    target = output or Path(Path(name).name or "result")
    if output is None and target.exists():
        raise click.UsageError(f"{target} is there already; give --output")
    partial = target.with_name(f"{target.name}.part")
    size = 0
    try:
        with partial.open("wb") as opened:
            async for piece in content:
                size += opened.write(piece)
        partial.replace(target)
    except OSError as error:
        raise click.FileError(str(target), hint=error.strerror) from error
    finally:
        partial.unlink(missing_ok=True)
    click.echo(f"{target}: {size:,} bytes", err=True)
