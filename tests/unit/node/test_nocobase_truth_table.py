"""NocoBase's own reading of WORKER_MODE, row by row: where we agree, where we serve what was written, what we refuse.

``nocobase_serves`` restates its 20 lines; the left half of the table is what that function was measured to answer.
"""

import pytest

from nocohost.api.errors import WorkerModeError
from nocohost.api.keys import is_key
from nocohost.node.mode import parse_mode

A, B, WORKFLOW = "acme:a", "acme:b", "workflow:process"
DECLARED = frozenset({A, B, WORKFLOW})
ALL = {A, B, WORKFLOW}


def nocobase_serves(value: str | None, key: str = "") -> bool:
    """Answer as NocoBase does: no trimming, no vocabulary, the star only as the whole string."""
    if not value:
        return True
    if value == "-":
        return False
    terms = value.split(",")
    return (value == "*" or key in terms) if key else "!" in terms


def nocobase(value: str | None) -> tuple[bool, set[str]]:
    return nocobase_serves(value), {key for key in DECLARED if nocobase_serves(value, key)}


def ours(value: str | None) -> tuple[bool, set[str]]:
    mode = parse_mode(value, declared=DECLARED).mode
    return mode.serves_requests, {key for key in DECLARED if mode.covers(key)}


AGREED = [
    # value, requests, keys
    (None, True, ALL),
    ("", True, ALL),
    ("!", True, set()),
    ("*", False, ALL),
    ("-", False, set()),
    (WORKFLOW, False, {WORKFLOW}),
    (f"{A},{WORKFLOW}", False, {A, WORKFLOW}),
    (f"!,{WORKFLOW}", True, {WORKFLOW}),
    (f"{WORKFLOW},!", True, {WORKFLOW}),
    (f"{A},{A}", False, {A}),
]

SERVED_AS_WRITTEN = [
    # value, what NocoBase serves, what we serve
    (" ", (False, set()), (True, ALL)),
    (" * ", (False, set()), (False, ALL)),
    (" -", (False, set()), (False, set())),
    (f"*,{A}", (False, {A}), (False, ALL)),
    ("!,*", (True, set()), (True, ALL)),
    ("*,!", (True, set()), (True, ALL)),
    (f"{A}, {B}", (False, {A}), (False, {A, B})),
    ("workflow:*", (False, set()), (False, {WORKFLOW})),
    (f"*,-{A}", (False, set()), (False, {B, WORKFLOW})),
]

REFUSED = [
    # value, what NocoBase serves, our code, the position we name
    ("-,!", (True, set()), "mode.dash_in_list", 1),
    ("!,-", (True, set()), "mode.dash_in_list", 3),
    (f"{A},,{B}", (False, {A, B}), "mode.empty_term", 8),
    (",", (False, set()), "mode.empty_term", 1),
    ("ACME:A", (False, set()), "mode.malformed_term", 1),
    (f"!{A}", (False, set()), "mode.malformed_term", 1),
    ("!!", (False, set()), "mode.malformed_term", 1),
    ("workflow", (False, set()), "mode.malformed_term", 1),
    ("workflow:proces", (False, set()), "mode.unknown_key", 1),
    (f"{A},acme:c", (False, {A}), "mode.unknown_key", 8),
]


@pytest.mark.parametrize(("value", "requests", "keys"), AGREED)
def test_both_read_it_alike(value: str | None, requests: bool, keys: set[str]) -> None:
    assert nocobase(value) == (requests, keys)
    assert ours(value) == (requests, keys)


@pytest.mark.parametrize(("value", "theirs", "expected"), SERVED_AS_WRITTEN)
def test_where_nocobase_drops_a_part_we_serve_what_is_written(
    value: str, theirs: tuple[bool, set[str]], expected: tuple[bool, set[str]]
) -> None:
    assert nocobase(value) == theirs
    assert ours(value) == expected


@pytest.mark.parametrize(("value", "theirs", "code", "position"), REFUSED)
def test_where_nocobase_quietly_serves_less_we_refuse(
    value: str, theirs: tuple[bool, set[str]], code: str, position: int
) -> None:
    assert nocobase(value) == theirs
    with pytest.raises(WorkerModeError) as caught:
        parse_mode(value, declared=DECLARED)
    assert (caught.value.code, caught.value.position) == (code, position)


def test_the_one_agreement_that_differs_is_said_once_at_start() -> None:
    notices = parse_mode("!,*", declared=DECLARED).notices
    assert len(notices) == 1
    assert "NocoBase reads it as '!'" in notices[0]


def test_only_the_dash_is_transient() -> None:
    assert parse_mode("-", declared=DECLARED).mode.is_transient
    assert parse_mode(" -", declared=DECLARED).mode.is_transient
    assert not any(parse_mode(value, declared=DECLARED).mode.is_transient for value, _, _ in AGREED if value != "-")


def test_a_key_is_never_read_as_grammar() -> None:
    """NocoBase matches ``!`` and ``*`` as keys literally; here neither can be one."""
    assert nocobase_serves("!", "!")
    assert nocobase_serves("*", "*")
    assert not parse_mode("!", declared=DECLARED).mode.covers("!")
    assert not is_key("!")
    assert not is_key("*")
