"""Bytes that others send as text, in a charset that they name."""

import codecs

NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Codecs of Python that are no charsets of what others send; some take minutes over a megabyte."""


def decoded(body: bytes, charset: str) -> str:
    """Return the body as text; what does not fit is replaced, and of a charset that is none it is read as UTF-8."""
    try:
        if codecs.lookup(charset).name not in NO_CHARSETS:
            return body.decode(charset, "replace")
    except (LookupError, ValueError):
        pass
    return body.decode("utf-8", "replace")
