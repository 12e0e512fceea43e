"""The charsets that requests name for their texts. Codecs of Python that are no charsets are not asked."""

import codecs

from aiohttp import BodyPartReader

NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""By the names that Python has for them; some take minutes over a megabyte, and the event loop with them."""


def is_charset(name: str) -> bool:
    """Tell whether ``name`` may be a charset, known or not."""
    try:
        return codecs.lookup(name).name not in NO_CHARSETS
    except (LookupError, ValueError):
        return True


class FormPart(BodyPartReader):
    """A part of a form whose text is decoded in charsets alone."""

    def get_charset(self, default: str) -> str:
        """Return the charset that the part names, or ``default``."""
        named = super().get_charset(default)
        return named if is_charset(named) else default
