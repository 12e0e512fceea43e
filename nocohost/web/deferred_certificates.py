"""aiohttp's client contexts without the certificates of the authorities, until a TLS connection is made with one.

aiohttp makes two such contexts when it is imported, and reads the machine's certificates into each: four mebibytes, and
its share of the time to start, on every node, for clients that most nodes never have.
"""

import ssl
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

PACKAGE = "aiohttp"
LOADERS = ("load_default_certs", "set_default_verify_paths")
"""The methods of a context that read the machine's certificates."""


class DeferredContext(ssl.SSLContext):
    """A context that reads the certificates at its first use, as it was told to, and is an ordinary one from then on.

    It trusts nobody before: what would use it in a way that is not known here is refused, not let through.
    """

    readings: tuple[Callable[[], None], ...] = ()

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Load and do as ``ssl.SSLContext`` does."""
        self._load()
        return self.wrap_bio(*arguments, **named)

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """Load and do as ``ssl.SSLContext`` does."""
        self._load()
        return self.wrap_socket(*arguments, **named)

    def get_ca_certs(self, *arguments: Any, **named: Any) -> Any:
        """Load and do as ``ssl.SSLContext`` does."""
        self._load()
        return self.get_ca_certs(*arguments, **named)

    def cert_store_stats(self) -> dict[str, int]:
        """Load and do as ``ssl.SSLContext`` does."""
        self._load()
        return self.cert_store_stats()

    def _load(self) -> None:
        for read in self.readings:
            read()  # twice where two threads come at once, which does no harm
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]


def defer_certificates() -> None:
    """Import aiohttp so that its contexts are deferred; nothing is done where it is imported already."""
    if PACKAGE in sys.modules:
        return
    originals = {name: getattr(ssl.SSLContext, name) for name in LOADERS}
    own = {name for name in LOADERS if name in vars(ssl.SSLContext)}
    for name, original in originals.items():
        setattr(ssl.SSLContext, name, _deferring(original))
    try:
        import_module(PACKAGE)
    finally:
        for name, original in originals.items():
            if name in own:
                setattr(ssl.SSLContext, name, original)
            else:
                delattr(ssl.SSLContext, name)


def _deferring(original: Callable[..., None]) -> Callable[..., None]:
    """Return what stands for a loader while aiohttp is imported."""

    def defer(context: ssl.SSLContext, *arguments: Any, **named: Any) -> None:
        if type(context) not in (ssl.SSLContext, DeferredContext):
            original(context, *arguments, **named)
            return
        context.__class__ = DeferredContext
        readings = context.__dict__.get("readings", ())
        context.__dict__["readings"] = (*readings, lambda: original(context, *arguments, **named))

    return defer
