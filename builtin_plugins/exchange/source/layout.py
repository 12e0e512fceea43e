"""How a file is to be read, as far as its owner says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read a file, as far as it is told; None is found out."""

    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    header_row: int = 1
