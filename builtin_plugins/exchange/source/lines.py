"""Text as lines of bounded length, in memory that does not grow."""

import io
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, cast

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.batch import MAX_ROW_LETTERS
from builtin_plugins.exchange.source.encoding import Encoding

BUFFER = 256 * 1024


def lines_of(file: BinaryIO, encoding: Encoding, *, universal: bool = True) -> Iterator[str]:
    r"""Yield the lines with their ends; ``universal`` takes a lone CR for one, as CSV does, else only LF ends them."""
    file.seek(encoding.skip)
    text = io.TextIOWrapper(
        cast("io.BufferedReader", _Unclosed(file)), encoding.name, "strict", newline="" if universal else "\n"
    )
    text._CHUNK_SIZE = BUFFER  # type: ignore[attr-defined]  # fewer, larger reads; it is only a hint
    for number, line in enumerate(iter(partial(text.readline, MAX_ROW_LETTERS), ""), start=1):
        if len(line) >= MAX_ROW_LETTERS:
            raise FileRefusedError(
                f"line {number} has more than {MAX_ROW_LETTERS} letters", hint="is this a file of rows at all?"
            )
        yield line


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
