"""The content of a file in pieces of one size, whatever the sizes in which it comes."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import cast

from nocohost.api.storage import Content

PIECE_BYTES = 1_048_576


async def pieces_of(content: Content) -> AsyncIterator[bytes]:
    """Yield the content again in pieces of ``PIECE_BYTES``, the last one as it falls; nothing for nothing."""
    if isinstance(content, bytes | bytearray | memoryview):
        whole = memoryview(content).cast("B")
        for start in range(0, len(whole), PIECE_BYTES):
            yield bytes(whole[start : start + PIECE_BYTES])
        return
    gathered = bytearray()
    async for part in _parts(content):
        gathered += part
        while len(gathered) >= PIECE_BYTES:
            yield bytes(gathered[:PIECE_BYTES])
            del gathered[:PIECE_BYTES]
    if gathered:
        yield bytes(gathered)


async def _parts(content: Content) -> AsyncIterator[bytes]:
    if isinstance(content, AsyncIterable):
        async for part in content:
            yield part
    else:
        for piece in cast("Iterable[bytes]", content):
            yield piece
