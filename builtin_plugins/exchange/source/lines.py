"""Text as lines, in memory that does not grow: how long they are is surveyed before."""

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from builtin_plugins.exchange.source.encoding import Encoding

BUFFER = 256 * 1024


def lines_of(file: BinaryIO, encoding: Encoding, *, universal: bool = True) -> Iterator[str]:
    r"""Return the lines with their ends; ``universal`` takes a lone CR for one, as CSV does, else only LF ends them."""
    file.seek(encoding.skip)
    raw = cast("io.BufferedReader", _Unclosed(file))
    text = io.TextIOWrapper(raw, encoding.name, "strict", newline="" if universal else "\n")
    text._CHUNK_SIZE = BUFFER  # type: ignore[attr-defined]  # fewer, larger reads; it is only a hint
    return text


class _Unclosed(io.BufferedIOBase):
    """A file that outlives the text around it: whoever opened it reads it again, and closes it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._file.read(size)
