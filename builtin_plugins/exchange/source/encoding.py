"""Which letters the bytes of a text file are: the mark at its begin decides, else who sent it, else UTF-8."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

from builtin_plugins.exchange.errors import FileRefusedError
from builtin_plugins.exchange.source.batch import MAX_ROW_LETTERS

KNOWN: Sequence[str] = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii",
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "windows-1257", "windows-1258", "cp874",
    "iso-8859-1", "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8",
    "iso-8859-9", "iso-8859-10", "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16",
    "cp437", "cp850", "cp852", "cp866", "mac-roman", "koi8-r", "koi8-u",
    "shift_jis", "cp932", "euc-jp", "gb18030", "gbk", "big5", "euc-kr",
)  # fmt: skip
"""What ``encoding`` may be, besides other spellings of these."""
MARKS: Sequence[tuple[bytes, str]] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Longer marks stand before those they begin with."""
PIECE = 1024 * 1024
AROUND = 4096
SEVERAL: Mapping[str, str] = {"shift_jis": "shift_jis", "gb18030": "gb18030", "euc-kr": "euc-kr"}
"""Encodings of several bytes a letter that are worth a try when UTF-8 does not fit."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to read the text of a file: the codec, and how many bytes of mark stand before it."""

    name: str
    skip: int = 0
    lines: int | None = None
    """How many line ends there are."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return it as JSON."""
        return {"encoding": self.name, "skip": self.skip, "lines": self.lines}


def known_encoding(name: str) -> str:
    """Return the name of ``KNOWN`` that this is a spelling of; raises ``ValueError``."""
    try:
        found = codecs.lookup(name.strip().lower()).name
    except (LookupError, ValueError):
        found = ""
    for one in KNOWN:
        if codecs.lookup(one).name == found:
            return one
    if found == "utf-8-sig":
        return "utf-8"
    raise ValueError(f"{name[:40]!r} is no known encoding; known: {', '.join(KNOWN)}")


def survey(file: BinaryIO, declared: str | None, *, universal: bool = True) -> Encoding:
    """Read ``file`` once from its begin, and return its encoding, which fits every byte of it.

    Raises ``FileRefusedError`` with the place of the first byte that does not fit. What fits is decided before a row is
    imported: half a file is worth less than none. So is a line that would not fit into memory; ``universal`` lets a
    lone CR end one.
    """
    file.seek(0)
    head = file.read(4)
    name, skip = next(((name, len(mark)) for mark, name in MARKS if head.startswith(mark)), (declared or "utf-8", 0))
    if name in ("utf-16", "utf-32"):  # without a mark
        name += "-le"
    if not skip:
        _refuse_wide_letters(file, name)
    decoder = codecs.getincrementaldecoder(name)("strict")
    file.seek(skip)
    lines, place, length = 0, skip, 0
    ends = "\r\n" if universal else "\n"
    while True:
        piece = file.read(PIECE)
        kept = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            at = place - kept + error.start
            lines += error.object[: error.start].decode(name, "ignore").count("\n")
            raise _unreadable(file, name, at, lines + 1, is_end=not piece) from error
        found = [text.find(end) for end in ends if end in text]
        length += min(found, default=len(text))
        if length > MAX_ROW_LETTERS:
            raise FileRefusedError(
                f"line {lines + 1} has more than {MAX_ROW_LETTERS} letters", hint="is this a file of rows at all?"
            )
        if found:
            length = len(text) - max(map(text.rfind, ends)) - 1
        lines += text.count("\n")
        if not piece:
            return Encoding(name, skip, lines)
        place += len(piece)


def _refuse_wide_letters(file: BinaryIO, name: str) -> None:
    """Refuse letters of other bytes than ``name`` gives them: as letters and zeros they fit most encodings."""
    file.seek(0)
    sample = file.read(AROUND)
    likely = _wide_encoding(sample)
    if likely and not name.startswith(likely):
        raise FileRefusedError(
            f"the file is not {name}: of its first {len(sample)} bytes {sample.count(0)} are zeros",
            code="exchange.encoding",
            hint=_suggestion(sample, name),
        )


def _unreadable(file: BinaryIO, name: str, at: int, line: int, *, is_end: bool) -> FileRefusedError:
    file.seek(max(0, at - AROUND) & ~3)  # where a letter begins, of one byte, two or four
    sample = file.read(2 * AROUND)
    file.seek(at)
    byte = file.read(1)
    what = f"is not {name}: " + (
        f"it ends in mid-letter, at offset {at}" if is_end else f"the byte 0x{byte.hex()} at offset {at}"
    )
    return FileRefusedError(
        f"the file {what}, in line {line}", code="exchange.encoding", hint=_suggestion(sample, name)
    )


def _suggestion(sample: bytes, name: str) -> str:
    """Return what to try instead; said, never done: a wrong guess would store wrong letters without a word."""
    likely = likely_encoding(sample, but=name)
    if likely:
        return f"it looks like {likely}: give encoding={likely}, or save the file as UTF-8"
    return "give the encoding it was saved in, such as windows-1252, or save it as UTF-8"


def likely_encoding(sample: bytes, but: str = "") -> str:
    """Return what a piece of text is probably encoded in, an empty text when nothing fits."""
    wide = _wide_encoding(sample)
    if wide:
        return "" if but.startswith(wide) else wide
    high = sum(byte > 127 for byte in sample)
    if not high:
        return ""
    guesses = []
    pairs = sum(one > 127 and other > 63 for one, other in pairwise(sample))
    if high * 3 > len(sample) or pairs * 2 > high * 2.2:
        guesses = [guess for guess in SEVERAL if _decodes(sample, guess)]
        if not guesses and high * 3 > len(sample):
            guesses = ["windows-1251"]
    if not guesses and b"\x81" not in sample and _decodes(sample, "windows-1252"):
        guesses = ["windows-1252"]
    return next((guess for guess in guesses if guess != but), "")


def _wide_encoding(sample: bytes) -> str:
    """Return the encoding of two or four bytes a letter that zeros tell of, an empty text where they do not."""
    zeros = sample.count(0)
    if len(sample) < 8 or not zeros:
        return ""
    if zeros * 5 > len(sample) * 3:
        return "utf-32" if sample[::4].count(0) < sample[3::4].count(0) else ""
    odd, even = sample[1::2], sample[::2]
    name, high = ("utf-16-be", even) if even.count(0) > odd.count(0) else ("utf-16-le", odd)
    # The high bytes of most alphabets are below a space, as hardly a byte of any other text is.
    tells = zeros * 3 > len(sample) or sum(byte < 32 for byte in high) * 10 > len(high) * 9
    return name if tells else ""


def _decodes(sample: bytes, name: str) -> bool:
    for cut in range(3):  # the piece may begin in mid-letter
        text = sample[cut:].decode(name, "replace")
        if text.rstrip("\ufffd").count("\ufffd") == 0 and not any(ord(letter) < 9 for letter in text):
            return True
    return False
