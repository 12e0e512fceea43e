"""The ``Host`` allow-list: what keeps a web page from talking to a node on loopback through a name of its own."""

import re
from collections.abc import Iterable
from ipaddress import ip_address

from nocohost.web.problems import RequestRefusedError

HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:/@\[\]]+))(?::[0-9]*)?")
REMEMBERED = 256


class HostPolicy:
    """Which ``Host`` headers a listening address answers to.

    Bound to loopback: ``localhost``, any address of loopback, and ``allowed``. Beyond loopback: ``allowed``, or any
    host when none is named. An entry is a host name, with or without a port, ``*.example.org`` for the names below
    one, or ``*`` for any.
    """

    def __init__(self, bound_to: str, allowed: Iterable[str] = ()) -> None:
        entries = {entry.strip().lower().rstrip(".") for entry in allowed} - {""}
        self._loopback = is_loopback(bound_to)
        self._any = "*" in entries or not (entries or self._loopback)
        self._suffixes = tuple(entry[1:] for entry in entries if entry.startswith("*."))
        self._names = frozenset(entries)
        self._accepted: set[str] = set()

    def allows(self, host: str | None) -> bool:
        """Tell whether a request with this ``Host`` header is answered; a missing one only where any host is."""
        if host in self._accepted or self._any:
            return True
        if host is None or not self._judge(host.lower()):
            return False
        if len(self._accepted) < REMEMBERED:
            self._accepted.add(host)
        return True

    def refusal(self) -> RequestRefusedError:
        """Return the 421 problem for a request to another host."""
        return RequestRefusedError(
            421,
            "This node does not answer to the host that the request names.",
            hint="add the name to http.allowed_hosts (NOCOHOST_HTTP__ALLOWED_HOSTS)",
        )

    def _judge(self, host: str) -> bool:
        name = _without_port(host)
        if host in self._names or name in self._names or name.endswith(self._suffixes):
            return True
        return self._loopback and is_loopback(name)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is ``localhost`` or an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    """Return the name or address in a ``Host`` header, or the empty string when it is neither."""
    match = HOST.fullmatch(host)
    return (match["address"] or match["name"].rstrip(".")) if match else ""
