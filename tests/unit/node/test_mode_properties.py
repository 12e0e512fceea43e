"""What holds for every worker mode, found by search rather than by example."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nocohost.api.errors import WorkerModeError
from nocohost.api.keys import namespace_of
from nocohost.node.mode import parse_grammar, parse_mode
from nocohost.node.terms import TERM

DECLARED = ("a:x", "a:y", "b:x", "b:y", "c-1:x")
CODES = {
    "mode.empty_term",
    "mode.malformed_term",
    "mode.dash_in_list",
    "mode.exclusion_without_base",
    "mode.nothing_left",
    "mode.unknown_key",
}
positive = st.sampled_from(["!", "*", *DECLARED, "a:*", "b:*", "c-1:*"])
negative = st.sampled_from(["-a:x", "-a:y", "-b:x", "-a:*", "-b:*", "-c-1:x"])
terms = st.lists(positive | negative, min_size=1, max_size=8)
near_miss = st.text(alphabet="abxy:,*!- \t\n\0A\u2013\uff0c", max_size=20)


def refusal_of(text: str) -> WorkerModeError | None:
    try:
        parse_mode(text, declared=DECLARED)
    except WorkerModeError as error:
        return error
    return None


def accepted(text: str) -> bool:
    return refusal_of(text) is None


def served_by_reading_literally(listed: Sequence[str], key: str) -> bool:
    """Serve what a positive term names unless an exclusion names it: the whole meaning, in three lines."""
    whole = f"{namespace_of(key)}:*"
    excluded = {f"-{key}", f"-{whole}"}.intersection(listed)
    return not excluded and bool({"*", key, whole}.intersection(listed))


@given(terms)
def test_a_mode_serves_what_its_terms_say(listed: list[str]) -> None:
    assume(accepted(",".join(listed)))
    mode = parse_mode(",".join(listed), declared=DECLARED).mode
    assert mode.serves_requests == ("!" in listed)
    assert not mode.is_transient
    for key in (*DECLARED, "a:later"):
        assert mode.covers(key) == served_by_reading_literally(listed, key)


@given(terms)
def test_refused_are_only_lists_that_are_pointless_or_contradict_themselves(listed: list[str]) -> None:
    """Every list of known, well-formed terms is accepted unless it serves nothing or excludes from nothing."""
    serves = "!" in listed or any(served_by_reading_literally(listed, key) for key in DECLARED)
    baseless = [
        term
        for term in listed
        if term.startswith("-")
        and not any(name == "*" or namespace_of(name) == namespace_of(term[1:]) for name in listed)
    ]
    if accepted(",".join(listed)):
        assert serves
        assert not baseless
    elif serves and not baseless:
        # "-a:x" beside "a:y" alone: of one namespace, and yet nothing to exclude from
        assert any(
            term.startswith("-") and not {"*", term[1:], f"{namespace_of(term[1:])}:*"} & {*listed} for term in listed
        )


@given(terms)
def test_the_canonical_form_comes_back_as_itself(listed: list[str]) -> None:
    assume(accepted(",".join(listed)))
    mode = parse_mode(",".join(listed), declared=DECLARED).mode
    again = parse_mode(mode.canonical, declared=DECLARED).mode
    assert again == mode
    assert again.canonical == mode.canonical


@given(terms, st.randoms(use_true_random=False))
def test_order_blanks_and_repetition_change_nothing(listed: list[str], random) -> None:  # type: ignore[no-untyped-def]
    text = ",".join(listed)
    shuffled = [*listed, random.choice(listed)]
    random.shuffle(shuffled)
    other = " ,\t".join(shuffled)
    assert accepted(text) == accepted(other)
    if accepted(text):
        assert parse_mode(text, declared=DECLARED).mode == parse_mode(other, declared=DECLARED).mode
        assert hash(parse_grammar(text).mode) == hash(parse_grammar(other).mode)


@given(st.lists(st.sampled_from(["!", "*"]), min_size=1))
def test_requests_and_star_in_any_mixture(listed: list[str]) -> None:
    mode = parse_mode(",".join(listed), declared=DECLARED).mode
    assert (mode.serves_requests, mode.serves_all) == ("!" in listed, "*" in listed)


@pytest.mark.parametrize("texts", [st.text(), near_miss], ids=["anything", "nearly valid"])
def test_arbitrary_text_is_read_or_refused_in_one_printable_line(texts: st.SearchStrategy[str]) -> None:
    @given(texts)
    def check(text: str) -> None:
        error = refusal_of(text)
        if error is None:
            mode = parse_mode(text, declared=DECLARED).mode
            assert parse_mode(mode.canonical, declared=DECLARED).mode == mode
            return
        assert error.code in CODES
        assert 1 <= error.position <= len(text) + 1
        assert error.term in text
        assert str(error).isprintable()
        assert len(str(error)) < 600

    check()


@given(near_miss)
def test_a_suggestion_is_well_formed(text: str) -> None:
    error = refusal_of(text)
    suggestion = error.suggestion if error else ""
    assert not suggestion or suggestion == "-" or all(TERM.fullmatch(term) for term in suggestion.split(","))


@given(st.sampled_from(DECLARED), st.integers(0, 2), st.sampled_from("abxy"))
def test_a_slip_in_a_key_is_answered_with_a_key_that_exists(key: str, place: int, letter: str) -> None:
    slip = key[:place] + letter + key[place:]
    assume(slip not in DECLARED)
    with pytest.raises(WorkerModeError) as caught:
        parse_mode(slip, declared=DECLARED)
    assert caught.value.suggestion in DECLARED
