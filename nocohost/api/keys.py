"""Service keys: ``noun:verb``, lower case, and the nearest one to a misspelling."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

KEY = re.compile(r"[a-z][a-z0-9-]*:[a-z][a-z0-9-]*")
"""The grammar of a service key."""


def is_key(text: str) -> bool:
    """Tell whether ``text`` is a well-formed service key."""
    return KEY.fullmatch(text) is not None


def namespace_of(key: str) -> str:
    """Return the part of ``key`` before its colon."""
    return key.partition(":")[0]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the entry of ``known`` that looks most like ``word``, or the empty string."""
    matches = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else ""
