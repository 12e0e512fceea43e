"""The worker mode as a value; its grammar is tested beside the parser."""

import pytest

from nocohost.api.mode import CHILD, EVERYTHING, WorkerMode

NONE = {"serves_requests": False, "serves_all": False}


def test_everything_covers_every_key():
    assert EVERYTHING.covers("shop:invoice")
    assert EVERYTHING.serves_requests
    assert not EVERYTHING.is_transient
    assert str(EVERYTHING) == "!,*"


def test_a_child_covers_nothing():
    assert not CHILD.covers("shop:invoice")
    assert CHILD.is_transient
    assert CHILD.canonical == "-"


@pytest.mark.parametrize(
    ("mode", "decided"),
    [
        (WorkerMode(excluded_keys=frozenset({"shop:invoice"})), (False, "-shop:invoice")),
        (WorkerMode(excluded_namespaces=frozenset({"shop"})), (False, "-shop:*")),
        (WorkerMode(), (True, "*")),
        (WorkerMode(**NONE, keys=frozenset({"shop:invoice"})), (True, "shop:invoice")),
        (WorkerMode(**NONE, namespaces=frozenset({"shop"})), (True, "shop:*")),
        (WorkerMode(serves_all=False), (False, "")),
    ],
)
def test_the_deciding_term_is_named(mode, decided):
    assert mode.deciding_term("shop:invoice") == decided


def test_the_canonical_form_is_sorted():
    mode = WorkerMode(serves_all=False, keys=frozenset({"b:x", "a:y"}), namespaces=frozenset({"a"}))
    assert mode.canonical == "!,a:*,a:y,b:x"
    assert WorkerMode(excluded_keys=frozenset({"b:x", "a:y"})).canonical == "!,*,-a:y,-b:x"


def test_equal_modes_are_one_value():
    assert WorkerMode() == EVERYTHING
    assert len({WorkerMode(), EVERYTHING, CHILD}) == 2
