"""Files of the machine on which a command runs: brought to every node, and taken from there."""

from collections.abc import AsyncIterator
from pathlib import Path

import click

from nocohost import App, StoredFile

PIECE_BYTES = 256 * 1024


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
    finally:
        partial.unlink(missing_ok=True)
    click.echo(f"{target}: {size:,} bytes", err=True)
