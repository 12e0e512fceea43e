"""What the scopes of a principal grant."""

import pytest

from nocohost.api.principal import Principal


@pytest.mark.parametrize(
    ("scope", "granted", "refused"),
    [
        ("admin", ["jobs.read", "shop.order", "token.create"], []),
        ("shop.order", ["shop.order"], ["shop.read", "jobs.read"]),
        ("shop.*", ["shop.order", "shop.read"], ["shopping.read"]),
        ("read", ["jobs.read", "shop.read"], ["jobs.operate", "shop.order"]),
        ("operate", ["jobs.read", "jobs.operate"], ["shop.order", "token.create"]),
        ("nothing", [], ["jobs.read"]),
    ],
)
def test_a_scope_grants_what_it_says_and_no_more(scope, granted, refused):
    principal = Principal("ada", frozenset({scope}))
    assert [permission for permission in [*granted, *refused] if principal.may(permission)] == granted


def test_without_a_scope_nothing_is_granted():
    assert not Principal("ada").may("jobs.read")
