"""How often connections are looked at, and what they are counted under."""

import pytest

from nocohost.web.deadlines import Deadlines, address_group


def test_connections_are_looked_at_a_few_times_per_deadline():
    assert Deadlines().scan_seconds == 1.0
    assert Deadlines(header_seconds=0.8).scan_seconds == pytest.approx(0.1)
    assert Deadlines(idle_seconds=0.001).scan_seconds == 0.02


@pytest.mark.parametrize(
    ("peername", "group"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::1", 5, 0, 0), "::/64"),
        (("2001:db8:1:2:aaaa::1", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:bbbb::2", 5, 0, 0), "2001:db8:1:2::/64"),
        (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", "local"),
        (None, "local"),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(peername, group):
    assert address_group(peername) == group
