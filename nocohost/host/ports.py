"""Where a node listens: the admin port moves aside for a neighbour, the main port does not."""

from collections.abc import Iterator

from nocohost.node.settings import AdminSettings

ADMIN_PORT = 8788
TRIES = 100


def admin_ports(settings: AdminSettings) -> Iterator[int]:
    """Yield the admin ports to try, in order: the one that was set, or 8788 and those above it."""
    if settings.port is not None:
        yield settings.port
    else:
        yield from range(ADMIN_PORT, ADMIN_PORT + TRIES)
