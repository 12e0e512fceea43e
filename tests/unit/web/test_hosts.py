"""Which Host headers a listening address answers to."""

import pytest

from nocohost.web.hosts import HostPolicy, is_loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8787", "localhost.", "127.0.0.1", "127.0.0.1:1", "127.8.8.8:80", "[::1]", "[::1]:8787"],
)
def test_loopback_answers_to_loopbacks_own_names(host):
    assert HostPolicy("127.0.0.1").allows(host)
    assert HostPolicy("localhost").allows(host)
    assert HostPolicy("::1").allows(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8787",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:127.0.0.1",
        "127.0.0.1@evil.example",
        "10.0.0.1",
        "[::2]",
        "[::1].evil.example",
        "0x7f.1",
        "2130706433",
        "xlocalhost",
        "\x00localhost",
    ],
)
def test_loopback_answers_to_nobody_else(host):
    assert not HostPolicy("127.0.0.1").allows(host)


def test_names_that_are_allowed_come_with_any_port_and_in_any_case():
    policy = HostPolicy("127.0.0.1", ["Shop.Example", "*.dev.example", "pinned.example:8443"])
    assert policy.allows("shop.example")
    assert policy.allows("SHOP.example.:99")
    assert policy.allows("a.b.dev.example:1")
    assert policy.allows("pinned.example:8443")
    assert policy.allows("localhost")
    assert not policy.allows("pinned.example:1")
    assert not policy.allows("dev.example")
    assert not policy.allows("xshop.example")


def test_beyond_loopback_any_host_is_answered_unless_some_are_named():
    assert HostPolicy("0.0.0.0").allows("whatever.example")
    assert HostPolicy("0.0.0.0").allows(None)
    policy = HostPolicy("0.0.0.0", ["shop.example"])
    assert policy.allows("shop.example")
    assert not policy.allows("localhost")
    assert not policy.allows(None)
    assert HostPolicy("0.0.0.0", ["*"]).allows("whatever.example")


def test_what_was_accepted_is_remembered_within_bounds():
    policy = HostPolicy("127.0.0.1")
    for port in range(2000):
        assert policy.allows(f"localhost:{port}")
    assert len(policy._accepted) <= 256


def test_only_addresses_of_this_machine_are_loopback():
    assert is_loopback("127.0.0.1")
    assert is_loopback("127.1.2.3")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert not is_loopback("example.org")
