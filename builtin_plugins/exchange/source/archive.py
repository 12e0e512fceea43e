"""What a workbook is checked for before anything parses it: that it is one, and no bomb.

Declared sizes lie, so every entry is inflated once, piece by piece, and counted.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from builtin_plugins.exchange.errors import FileRefusedError

MIB = 1024 * 1024
MAX_ENTRIES = 1000
MAX_INFLATED = 500 * MIB
MAX_RATIO = 200
FREE_BYTES = MIB
"""An entry may be inflated to so much whatever its ratio: a sheet of zeros is not a bomb yet."""
PIECE = 64 * 1024
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
LOCAL_HEADER = b"PK\x03\x04"
ENCRYPTED = 0x1
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
ERROR_CELL = re.compile(
    rb"""<(?:\w{1,40}:)?c\b(?=[^<>]{0,200}\bt=["']e["'])(?:[^<>]{0,200}\br=["']([A-Z]{1,3})(\d{1,7})["'])?"""
)
UNCOUNTED = re.compile(
    rb"<(?:\w{1,40}:)?f\b(?:[^<>]{0,400}/>|[^<>]{0,400}>[^<]{0,8300}</(?:\w{1,40}:)?f>)\s*"
    rb"(?:<(?:\w{1,40}:)?v\s*/>|<(?:\w{1,40}:)?v>\s*</|</(?:\w{1,40}:)?c>)"
)
"""A formula whose value the file does not hold."""
PLACE = re.compile(rb"""\br=["']([A-Z]{1,3})(\d{1,7})["']""")
TEXT_CELL = re.compile(rb"""\bt=["']str["']""")
"""Of a formula that comes to a text, which may be empty."""
MAX_BROKEN_CELLS = 100_000
KEPT_BYTES = 9600
"""Of a piece of markup, to be looked at once more with the next one: a cell with its formula is no longer."""
OTHERS: Mapping[str, str] = {
    "xl/vbaProject.bin": "a workbook with macros",
    "xl/workbook.bin": "a binary workbook, .xlsb",
    "word/document.xml": "a text document",
    "ppt/presentation.xml": "a presentation",
    "mimetype": "an OpenDocument file",
    "META-INF/MANIFEST.MF": "a Java archive",
}
SAVE = "save it as .xlsx or CSV"

BrokenCells = Mapping[str, Mapping[tuple[int, str], str]]
"""What is wrong with cells of each sheet's entry by (row, letters of the column): parsers take them for empty ones.

The row is 0 for one that does not say where it is; of more than ``MAX_BROKEN_CELLS`` some are left out.
"""
ERROR = "the cell holds an error of Excel, such as #N/A"
NO_VALUE = "the cell holds a formula whose value the file does not have: open it in Excel or LibreOffice, and save it"


def check_workbook(file: BinaryIO) -> BrokenCells:
    """Raise ``FileRefusedError`` for what is no .xlsx, or not a harmless one; return where it has broken cells."""
    refuse_ole(file)
    try:
        with zipfile.ZipFile(_Kept(file)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise _refused(f"is damaged: {str(error)[:100]}") from error
    if len(entries) > MAX_ENTRIES:
        raise _refused(f"has {len(entries)} entries, at most {MAX_ENTRIES}")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise _refused("has two entries of one name")
    for name, what in OTHERS.items():
        if name in names:
            raise FileRefusedError(f"the file is {what}", code="exchange.format", hint=SAVE)
    if "xl/workbook.xml" not in names:
        raise FileRefusedError("the file is a ZIP archive, but no workbook", code="exchange.format", hint=SAVE)
    if any(name.startswith("xl/externalLinks/") for name in names):
        raise _refused("takes values from other workbooks", hint="paste them as values, or save it as CSV")
    left = MAX_INFLATED
    broken = {}
    for entry in entries:
        found, used = _check_entry(file, entry, left)
        left -= used
        if found:
            broken[entry.filename] = found
    return broken


def refuse_ole(file: BinaryIO) -> None:
    """Raise ``FileRefusedError`` for the container of old Office files, in which encrypted new ones are kept too."""
    file.seek(0)
    if file.read(len(OLE)) != OLE:
        return
    before = b""
    while piece := file.read(MIB):
        if "EncryptedPackage".encode("utf-16-le") in before + piece:
            raise FileRefusedError(
                "the workbook is protected by a password", code="exchange.format", hint="save it without one"
            )
        before = piece[-64:]
    raise FileRefusedError("the file is an old Office file, such as .xls", code="exchange.format", hint=SAVE)


def _check_entry(file: BinaryIO, entry: zipfile.ZipInfo, left: int) -> tuple[dict[tuple[int, str], str], int]:
    name = entry.filename[:100]
    if entry.flag_bits & ENCRYPTED:
        raise _refused("is encrypted", hint="save it without a password")
    if entry.compress_type not in (STORED, DEFLATED):
        raise _refused(f"is packed in an unknown way: {name}")
    used, checksum, before = 0, 0, b""
    broken: dict[tuple[int, str], str] = {}
    is_xml = name.endswith((".xml", ".rels"))
    for piece in _inflated(file, entry):
        if not used:
            _check_begin(piece, name, is_xml=is_xml)
        used += len(piece)
        checksum = zlib.crc32(piece, checksum)
        if used > left:
            raise _refused(f"is more than {MAX_INFLATED // MIB} MiB when it is unpacked", hint="save it as CSV")
        if used > FREE_BYTES and used > MAX_RATIO * max(1, entry.compress_size):
            raise _refused(f"is packed more than {MAX_RATIO} to 1, as bombs are: {name}", hint="save it as CSV")
        if is_xml:
            markup = before + piece
            broken |= _read_markup(markup, name, looks=len(broken) < MAX_BROKEN_CELLS)
            before = markup[-KEPT_BYTES:]
    if used != entry.file_size:
        raise _refused(f"lies about the size of {name}")
    if checksum != entry.CRC:
        raise _refused(f"is damaged at {name}")
    return broken, used


def _check_begin(piece: bytes, name: str, *, is_xml: bool) -> None:
    if piece.startswith(LOCAL_HEADER):
        raise _refused(f"holds an archive in the archive: {name}")
    if is_xml and b"\0" in piece[:200]:
        raise _refused(f"is not in UTF-8: {name}")


def _read_markup(markup: bytes, name: str, *, looks: bool) -> dict[tuple[int, str], str]:
    """Refuse declarations; return the cells in a piece of a sheet that only look empty, and what is wrong there."""
    if DECLARATION.search(markup):
        raise _refused(f"declares entities, which no workbook needs: {name}")
    found: dict[tuple[int, str], str] = {}
    if not looks:
        return found
    for formula in UNCOUNTED.finditer(markup):
        cell = markup[markup.rfind(b"<", 0, formula.start()) : formula.start()][:200]
        if not TEXT_CELL.search(cell):
            place = PLACE.search(cell)
            found[(int(place[2]), place[1].decode()) if place else (0, "")] = NO_VALUE
    if b't="e"' in markup or b"t='e'" in markup:
        found |= {(int(row or 0), column.decode()): ERROR for column, row in ERROR_CELL.findall(markup)}
    return found


def _inflated(file: BinaryIO, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield what an entry really holds, in pieces of bounded size."""
    if entry.header_offset < 0:
        raise _refused(f"is damaged at {entry.filename[:100]}")
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(LOCAL_HEADER):
        raise _refused(f"is damaged at {entry.filename[:100]}")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    left = entry.compress_size
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while left > 0 and (packed := file.read(min(PIECE, left))):
            left -= len(packed)
            if entry.compress_type == STORED:
                yield packed
                continue
            while packed and not inflating.eof:
                if piece := inflating.decompress(packed, PIECE):
                    yield piece
                packed = inflating.unconsumed_tail
        while entry.compress_type == DEFLATED and not inflating.eof:
            piece = inflating.decompress(b"", PIECE)
            if not piece:
                raise _refused(f"is cut off at {entry.filename[:100]}")
            yield piece
    except zlib.error as error:
        raise _refused(f"is damaged at {entry.filename[:100]}: {error}") from error


def _refused(what: str, hint: str = SAVE) -> FileRefusedError:
    return FileRefusedError(f"the workbook {what}", code="exchange.workbook", hint=hint)


class _Kept:
    """The file, which ``ZipFile`` must not close."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.seekable = lambda: True
