"""Which addresses ``http`` steps may reach: public ones, and those that the operator allows."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from builtin_plugins.workflow.errors import StepFailedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NAT64 = ipaddress.ip_network("64:ff9b::/96")
NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")


class AddressRefusedError(StepFailedError, OSError):
    """The address is not public, and the operator has not allowed it; trying again does not help."""

    code = "workflow.address_refused"

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="NOCOHOST_PLUGINS__WORKFLOW__HTTP_ALLOW lists hosts and networks to reach all the same",
            retryable=False,
        )


@dataclass(frozen=True)
class AddressGuard:
    """Judges hosts, ports and addresses."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]
    ports: frozenset[int]

    @classmethod
    def read(cls, allow: Sequence[str], ports: Sequence[int]) -> "AddressGuard":
        """Return the guard of the settings: what is no network is the name of a host."""
        hosts, networks = set(), []
        for one in allow:
            try:
                networks.append(ipaddress.ip_network(one, strict=False))
            except ValueError:
                hosts.add(one.lower().rstrip("."))
        return cls(frozenset(hosts), tuple(networks), frozenset(ports))

    def check_url(self, scheme: str, host: str | None, port: int | None) -> None:
        """Raise ``AddressRefusedError`` for what is refused before any name is looked up."""
        if scheme not in ("http", "https"):
            raise AddressRefusedError(f"{scheme[:20]!r} is refused: http and https only")
        if not host:
            raise AddressRefusedError("the URL names no host")
        if self.allows_host(host):
            return
        literal = as_address(host)
        if literal is not None:
            self.check_address(host, str(literal))
        if port not in self.ports and not (literal is not None and self._is_listed(literal)):
            raise AddressRefusedError(
                f"port {port} is refused",
            )

    def allows_host(self, host: str) -> bool:
        """Tell whether the operator has allowed a host by name."""
        return host.lower().rstrip(".") in self.hosts

    def check_address(self, host: str, text: str) -> None:
        """Raise ``AddressRefusedError`` unless an address that a host resolved to may be reached."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            raise AddressRefusedError(f"{host} has an address that cannot be read") from None
        if not self._is_listed(address) and not is_public(address):
            raise AddressRefusedError(f"{host} is refused: {address} is no public address")

    def _is_listed(self, address: Address) -> bool:
        inner = unwrapped(address)
        return any(
            one in network for one in (address, inner) for network in self.networks if one.version == network.version
        )


class GuardedResolver(AbstractResolver):
    """Resolves hosts for aiohttp, and hands on only what may be reached: what is checked is what is connected to."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raises ``AddressRefusedError`` if any of them is refused."""
        found = await self._inner.resolve(host, port, family)
        if not self._guard.allows_host(host):
            for one in found:
                self._guard.check_address(host, one["host"])
        return found

    async def close(self) -> None:
        """Let go of the resolver."""
        await self._inner.close()


def as_address(host: str) -> Address | None:
    """Return a host that is written as an address, in any of the ways in which the system reads one."""
    text = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one that only wraps it."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner
    return address


def is_public(address: Address) -> bool:
    """Tell whether anybody on the internet may be meant by an address."""
    inner = unwrapped(address)
    for one in (address, inner):
        refused: Any = (
            one.is_private,
            one.is_loopback,
            one.is_link_local,
            one.is_multicast,
            one.is_reserved,
            one.is_unspecified,
        )
        if any(refused) and not (one is address and inner is not address):
            return False
    if address.version == 6 and address in NAT64_LOCAL:
        return False
    if isinstance(inner, ipaddress.IPv6Address) and inner.is_site_local:
        return False
    return inner.is_global
