"""Which addresses http steps may reach, without any network."""

import socket

import pytest

from builtin_plugins.workflow.steps.addresses import AddressGuard, AddressRefusedError, GuardedResolver, as_address

GUARD = AddressGuard.read([], [80, 443])
REFUSED = [
    *("127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0", "0.0.0.0"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0xa9fea9fe", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("192.0.0.1", "0.1.2.3", "[::1]", "[::]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fd12::1]", "[ff02::1]"),
    "[fec0::1]",
    *("[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[2002:7f00:1::]", "[2002:a00:1::1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2001:db8::1]", "[100::1]", "[2001::1]"),
]


@pytest.mark.parametrize("host", REFUSED)
def test_an_address_that_is_not_public_is_refused(host):
    with pytest.raises(AddressRefusedError):
        GUARD.check_url("http", host, 80)


@pytest.mark.parametrize("host", ["93.184.216.34", "8.8.8.8", "[2606:4700:4700::1111]", "example.org"])
def test_a_public_address_is_not(host):
    GUARD.check_url("https", host, 443)


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [
        ("file", "example.org", None),
        ("ftp", "example.org", 21),
        ("gopher", "example.org", 70),
        ("http", None, 80),
        ("http", "", 80),
        ("http", "example.org", 22),
        ("http", "example.org", 5432),
        ("http", "8.8.8.8", 8080),
    ],
)
def test_other_schemes_ports_and_no_host_are_refused(scheme, host, port):
    with pytest.raises(AddressRefusedError):
        GUARD.check_url(scheme, host, port)


def test_the_operator_allows_hosts_addresses_and_networks():
    guard = AddressGuard.read(["Inner.Example.", "127.0.0.1", "10.1.0.0/16", "::1"], [443])
    for host in ("inner.example", "INNER.example.", "127.0.0.1", "10.1.2.3", "[::1]", "[::ffff:127.0.0.1]"):
        guard.check_url("http", host, 9999)
    for host in ("other.example", "127.0.0.2", "10.2.0.1"):
        with pytest.raises(AddressRefusedError):
            guard.check_url("http", host, 9999)


@pytest.mark.parametrize("host", ["localhost", "example.org", "a.b", "1.2.3.4.5"])
def test_a_name_is_no_address(host):
    assert as_address(host) is None


class Answers:
    def __init__(self, *addresses):
        self.addresses = addresses

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{"host": one, "hostname": host, "port": port, "family": family} for one in self.addresses]

    async def close(self):
        pass


async def test_of_several_answers_any_that_is_not_public_refuses_the_host():
    resolver = GuardedResolver(GUARD)
    resolver._inner = Answers("8.8.8.8", "8.8.4.4")
    assert len(await resolver.resolve("two.example", 80)) == 2
    for bad in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1", "fe80::1%eth0", "nonsense"):
        resolver._inner = Answers("8.8.8.8", bad)
        with pytest.raises(AddressRefusedError):
            await resolver.resolve("rebinding.example", 80)


async def test_what_is_looked_up_anew_is_judged_anew():
    resolver = GuardedResolver(GUARD)
    resolver._inner = Answers("8.8.8.8")
    await resolver.resolve("rebinding.example", 80)
    resolver._inner = Answers("127.0.0.1")
    with pytest.raises(AddressRefusedError):
        await resolver.resolve("rebinding.example", 80)
