"""What of a setting may be shown: secrets never, and a URL without its password."""

import re

HIDDEN = "********"
_IN_AUTHORITY = re.compile(r"(://[^:/?#@]*):.*@", re.DOTALL)
_IN_QUERY = re.compile(r"([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|token|credential|private|dsn|(^|_)key($|_)", re.IGNORECASE
)


def without_password(url: str) -> str:
    """Return ``url`` with every password in it hidden; a text that is no URL comes back as it is.

    When a password holds characters that belong to a URL, rather too much is hidden than too little.
    """
    return _IN_QUERY.sub(rf"\1{HIDDEN}", _IN_AUTHORITY.sub(rf"\1:{HIDDEN}@", url))


def names_a_secret(field: str) -> bool:
    """Tell whether the name of a plugin's setting says that its value is a secret."""
    return _SECRET_NAME.search(field) is not None
