"""What a file is called: a text from anywhere, made fit to be shown, and never made into a path."""

import re
import unicodedata

from nocohost.api.storage import BINARY, MAX_FILE_NAME

MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}(; ?charset=[a-z0-9_-]{1,32})?", re.IGNORECASE)
LONGEST_ENDING = 16
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control characters, marks that turn the direction of a text, halves of characters, line ends."""


def fit_name(name: str) -> str:
    """Return the last part of what may be a path, on one line, cut before its ending; ``file`` for nothing."""
    shown = "".join(letter for letter in str(name) if unicodedata.category(letter) not in UNSEEN)
    last = shown.replace("\\", "/").rstrip("/ ").rpartition("/")[2].strip()
    if not last.strip(". "):
        return "file"
    if len(last) > MAX_FILE_NAME:
        stem, dot, ending = last.rpartition(".")
        kept = dot + ending if stem and len(ending) <= LONGEST_ENDING else ""
        last = last[: MAX_FILE_NAME - len(kept)] + kept
    return last


def fit_media_type(media_type: str) -> str:
    """Return the media type, or that of bytes for one that no header could hold."""
    return media_type if MEDIA_TYPE.fullmatch(media_type) else BINARY
