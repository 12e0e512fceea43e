"""Ids: unique, and in order of time."""

import uuid
from itertools import islice
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from nocohost.node.identity import POOL_IDS, new_claim_id, new_id, new_identity, new_ids, uuid7


def test_an_id_is_a_canonical_uuid_of_version_7() -> None:
    text = new_id()
    assert len(text) == 36
    assert str(uuid.UUID(text)) == text
    assert uuid.UUID(text).version == 7
    assert uuid.UUID(text).variant == uuid.RFC_4122


def test_a_known_instant_is_laid_out_as_the_standard_says() -> None:
    # 2022-02-22T19:22:22Z, the example of RFC 9562, with the noise at its largest
    made = UUID(uuid7(1_645_557_742_000_000_000, (1 << 62) - 1))
    assert str(made) == "017f22e2-79b0-7000-bfff-ffffffffffff"


instants = st.integers(0, (1 << 48) * 1_000_000 - 1)


@given(instants, instants, st.integers(0, (1 << 62) - 1), st.integers(0, (1 << 62) - 1))
def test_ids_sort_by_time(first: int, second: int, noise: int, other_noise: int) -> None:
    earlier, later = sorted((first, second))
    if later - earlier >= 250:
        assert uuid7(earlier, noise) < uuid7(later, other_noise)


@given(instants, st.integers(0, (1 << 62) - 1))
def test_every_instant_gives_a_valid_uuid(nanoseconds: int, noise: int) -> None:
    made = UUID(uuid7(nanoseconds, noise))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == nanoseconds // 1_000_000


def test_ids_do_not_repeat() -> None:
    assert len({new_id() for _ in range(2000)}) == 2000


def test_ids_made_one_after_the_other_are_in_order() -> None:
    ids = [new_id() for _ in range(5)]
    prefixes = [text[:18] for text in ids]  # instants; within a quarter of a microsecond noise decides
    assert prefixes == sorted(prefixes)


def test_many_ids_made_together_are_as_those_made_one_by_one() -> None:
    ids = list(islice(new_ids(), 2 * POOL_IDS + 1))
    assert len(set(ids)) == len(ids)
    assert {(len(text), UUID(text).version, UUID(text).variant) for text in ids} == {(36, 7, uuid.RFC_4122)}
    assert [text[:18] for text in ids] == sorted(text[:18] for text in ids)
    assert len({text[24:] for text in ids}) == len(ids)


def test_every_boot_of_a_node_is_another() -> None:
    first, second = new_identity("web-1"), new_identity("web-1")
    assert first.name == second.name == "web-1"
    assert first.id != second.id


def test_a_claim_id_is_random() -> None:
    assert uuid.UUID(new_claim_id()).version == 4
    assert len({new_claim_id() for _ in range(100)}) == 100
