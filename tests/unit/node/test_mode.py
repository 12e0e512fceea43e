"""The grammar of WORKER_MODE: what it accepts, how it refuses, what it says."""

from collections.abc import Collection

import pytest

from nocohost.api.errors import WorkerModeError
from nocohost.api.mode import EVERYTHING, WorkerMode
from nocohost.node.mode import misspells_worker_mode, parse_grammar, parse_mode
from nocohost.node.terms import LONGEST_MODE

DECLARED = frozenset({"workflow:process", "workflow:timers", "async-task:process", "shop:invoice"})


def refusal(text: str | None, *, external: Collection[str] = (), required: bool = False) -> WorkerModeError:
    with pytest.raises(WorkerModeError) as caught:
        parse_mode(text, declared=DECLARED, external=external, required=required)
    return caught.value


@pytest.mark.parametrize("text", [None, "", " ", "\t ", "!,*", "*,!", " ! , * "])
def test_everything_however_it_is_written(text: str | None) -> None:
    parsed = parse_mode(text, declared=DECLARED)
    assert parsed.mode == EVERYTHING
    assert parsed.mode.canonical == "!,*"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("!", "!"),
        ("*", "*"),
        ("-", "-"),
        ("\t-\t", "-"),
        ("shop:invoice", "shop:invoice"),
        ("workflow:process,async-task:process", "async-task:process,workflow:process"),
        ("workflow:process , !", "!,workflow:process"),
        ("workflow:*", "workflow:*"),
        ("workflow:*,workflow:process", "workflow:*"),
        ("*,workflow:*,shop:invoice", "*"),
        ("-workflow:process,*", "*,-workflow:process"),
        ("*,-workflow:*,-shop:invoice,!", "!,*,-shop:invoice,-workflow:*"),
        ("*,-workflow:*,-workflow:process", "*,-workflow:*"),
        ("workflow:*,-workflow:timers", "workflow:*,-workflow:timers"),
        ("shop:invoice,shop:invoice", "shop:invoice"),
        ("shop:invoice,workflow:process,-workflow:process", "shop:invoice"),
        ("shop:invoice,workflow:*,-workflow:*", "shop:invoice"),
        ("*,shop:invoice,-shop:invoice", "*,-shop:invoice"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert parse_mode(text, declared=DECLARED).mode.canonical == canonical


def test_the_mode_is_an_immutable_value() -> None:
    mode = parse_mode("workflow:*,-workflow:timers", declared=DECLARED).mode
    assert mode == WorkerMode(
        serves_requests=False,
        serves_all=False,
        namespaces=frozenset({"workflow"}),
        excluded_keys=frozenset({"workflow:timers"}),
    )
    assert len({mode, parse_mode(" -workflow:timers,workflow:*", declared=DECLARED).mode}) == 1
    with pytest.raises(AttributeError):
        mode.serves_requests = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("mode", "key", "decision"),
    [
        ("*,-workflow:*", "workflow:process", (False, "-workflow:*")),
        ("*,-workflow:process", "workflow:process", (False, "-workflow:process")),
        ("*,-workflow:process", "shop:invoice", (True, "*")),
        ("workflow:*", "workflow:timers", (True, "workflow:*")),
        ("shop:invoice", "shop:invoice", (True, "shop:invoice")),
        ("!", "shop:invoice", (False, "")),
    ],
)
def test_the_deciding_term_is_named(mode: str, key: str, decision: tuple[bool, str]) -> None:
    assert parse_mode(mode, declared=DECLARED).mode.deciding_term(key) == decision


@pytest.mark.parametrize(
    ("text", "code", "term", "position", "suggestion"),
    [
        ("shop:invoice,,workflow:process", "mode.empty_term", "", 14, "shop:invoice,workflow:process"),
        ("shop:invoice, ", "mode.empty_term", "", 14, "shop:invoice"),
        (",", "mode.empty_term", "", 1, ""),
        ("  ,!", "mode.empty_term", "", 1, "!"),
        ("!,-", "mode.dash_in_list", "-", 3, "!"),
        ("-, shop:invoice", "mode.dash_in_list", "-", 1, "shop:invoice"),
        ("-,-", "mode.dash_in_list", "-", 1, "-"),
        ("-shop:invoice", "mode.exclusion_without_base", "-shop:invoice", 1, "*,-shop:invoice"),
        ("!, -shop:*", "mode.exclusion_without_base", "-shop:*", 4, "!,*,-shop:*"),
        ("shop:invoice,-workflow:*", "mode.exclusion_without_base", "-workflow:*", 14, "*,-workflow:*"),
        ("workflow:*,-shop:invoice", "mode.exclusion_without_base", "-shop:invoice", 12, "*,-shop:invoice"),
        ("shop:invoice,-shop:invoice", "mode.nothing_left", "-shop:invoice", 14, ""),
        ("workflow:*,-workflow:*", "mode.nothing_left", "-workflow:*", 12, ""),
        ("shop:*,-shop:invoice", "mode.nothing_left", "-shop:invoice", 8, ""),
        ("*,-workflow:*,-shop:*,-async-task:process", "mode.nothing_left", "-workflow:*", 3, ""),
        ("shop:invoise", "mode.unknown_key", "shop:invoise", 1, "shop:invoice"),
        ("!,  shop:invoise", "mode.unknown_key", "shop:invoise", 5, "shop:invoice"),
        ("*,-shop:invoise", "mode.unknown_key", "-shop:invoise", 3, "-shop:invoice"),
        ("workflw:*", "mode.unknown_key", "workflw:*", 1, "workflow:*"),
        ("zzz:qqq", "mode.unknown_key", "zzz:qqq", 1, ""),
        ("Shop:Invoice", "mode.malformed_term", "Shop:Invoice", 1, "shop:invoice"),
        ("Shop:Invoise", "mode.malformed_term", "Shop:Invoise", 1, "shop:invoice"),
        ("shop.invoice", "mode.malformed_term", "shop.invoice", 1, "shop:invoice"),
        ("shop:invoice;workflow:process", "mode.malformed_term", "shop:invoice;workflow:process", 1,
         "shop:invoice,workflow:process"),
        ("shop:invoice workflow:process", "mode.malformed_term", "shop:invoice workflow:process", 1,
         "shop:invoice,workflow:process"),
        ("!shop:invoice", "mode.malformed_term", "!shop:invoice", 1, "!,shop:invoice"),
        ("!!", "mode.malformed_term", "!!", 1, "!"),
        ("shop:", "mode.malformed_term", "shop:", 1, "shop:*"),
        ("shop:invoice:now", "mode.malformed_term", "shop:invoice:now", 1, "shop:invoice"),
        ("*:invoice", "mode.malformed_term", "*:invoice", 1, "shop:invoice"),
        ("--shop:invoice", "mode.malformed_term", "--shop:invoice", 1, "-shop:invoice"),
        ("-!", "mode.malformed_term", "-!", 1, ""),
    ],
)  # fmt: skip
def test_refusals_name_term_position_and_the_nearest_valid_one(
    text: str, code: str, term: str, position: int, suggestion: str
) -> None:
    error = refusal(text)
    assert (error.code, error.term, error.position, error.suggestion) == (code, term, position, suggestion)
    assert error.hint
    if suggestion and code != "mode.dash_in_list":
        assert suggestion in error.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shop:invoice\uff0cworkflow:process", "U+FF0C FULLWIDTH COMMA) at position 13"),
        ("*,\u2013shop:invoice", "U+2013 EN DASH) at position 3"),
        ("*,\u2212shop:invoice", "U+2212 MINUS SIGN) at position 3"),
        ("\uff01", "U+FF01 FULLWIDTH EXCLAMATION MARK"),
        ("shop:invoice\n", r"'\n' (U+000A) at position 13"),
        ("\n", r"'\n' (U+000A) at position 1"),
        ("\r\n", r"'\r' (U+000D) at position 1"),
        ("shop:invoice\x00", r"'\x00' (U+0000) at position 13"),
        ("\x1b[31mshop:invoice", r"'\x1b' (U+001B) at position 1"),
        ("shop:\u200binvoice", r"U+200B ZERO WIDTH SPACE"),
        ("shop:invoice\u00a0,!", r"U+00A0 NO-BREAK SPACE"),
        ("\u0455hop:invoice", "U+0455 CYRILLIC SMALL LETTER DZE"),
        ("\udcff", "U+DCFF"),
        ("ß:ß", "U+00DF LATIN SMALL LETTER SHARP S"),
    ],
)
def test_what_cannot_be_seen_is_spelt_out_and_never_normalised(text: str, told: str) -> None:
    error = refusal(text)
    assert error.code == "mode.malformed_term"
    assert told in error.message
    assert str(error).isprintable()


def test_full_width_and_dash_lookalikes_are_suggested_in_ascii() -> None:
    assert refusal("shop:invoice\uff0cworkflow:process").suggestion == "shop:invoice,workflow:process"
    assert refusal("*,\u2013shop:invoice").suggestion == "-shop:invoice"
    assert refusal("\uff01").suggestion == "!"


def test_a_hundred_kilobytes_are_refused_in_a_short_line() -> None:
    error = refusal("shop:invoice," * 8000)
    assert error.code == "mode.malformed_term"
    assert "104000 characters" in error.message
    assert len(str(error)) < 300


def test_the_longest_mode_is_read() -> None:
    terms = ["shop:invoice"] * (LONGEST_MODE // 13)
    parsed = parse_mode(",".join(terms), declared=DECLARED)
    assert parsed.mode.canonical == "shop:invoice"
    assert len(parsed.notices) == 1


@pytest.mark.parametrize("text", [None, "", "  "])
def test_a_required_mode_must_be_set(text: str | None) -> None:
    error = refusal(text, required=True)
    assert error.code == "mode.required"
    assert "YAML" in error.hint
    assert parse_mode(error.suggestion, declared=DECLARED, required=True).mode == EVERYTHING


def test_grammar_alone_knows_no_keys() -> None:
    assert parse_grammar("any:thing,!").mode.canonical == "!,any:thing"
    assert parse_grammar(None).mode == EVERYTHING
    with pytest.raises(WorkerModeError, match="none is set"):
        parse_grammar("", required=True)


def test_what_the_grammar_forbids_is_told_before_what_is_not_installed() -> None:
    assert refusal("nobody:knows,-no:thing").code == "mode.exclusion_without_base"


@pytest.mark.parametrize(
    ("text", "notices"),
    [
        ("shop:invoice", []),
        ("shop:invoice,shop:invoice,shop:invoice", ["'shop:invoice' is listed 3 times; once is enough"]),
        ("*,shop:invoice", ["'shop:invoice' is redundant: '*' covers it"]),
        ("*,shop:*", ["'shop:*' is redundant: '*' covers it"]),
        ("workflow:*,workflow:process", ["'workflow:process' is redundant: 'workflow:*' covers it"]),
        ("*,-workflow:*,-workflow:process", ["'-workflow:process' is redundant: '-workflow:*' covers it"]),
        (
            "shop:invoice,workflow:process,-workflow:process",
            ["'workflow:process' has no effect: '-workflow:process' excludes it"],
        ),
        ("*,!", ["'!,*' serves requests and services alike, as written; NocoBase reads it as '!'"]),
    ],
)
def test_notices(text: str, notices: list[str]) -> None:
    assert list(parse_mode(text, declared=DECLARED).notices) == notices


def test_requests_remain_when_every_service_is_excluded() -> None:
    parsed = parse_mode("!,shop:*,-shop:invoice", declared=DECLARED)
    assert parsed.mode.serves_requests
    assert any("leave no service" in notice for notice in parsed.notices)


def test_external_keys_may_be_named_and_are_said_to_be_served_elsewhere() -> None:
    for text in ("mail:send", "mail:*", "!,mail:send,shop:invoice"):
        parsed = parse_mode(text, declared=DECLARED, external={"mail:send"})
        assert any("this image does not serve mail:send" in notice for notice in parsed.notices)
    assert refusal("mail:sent", external={"mail:send"}).suggestion == "mail:send"
    assert refusal("mail:send").code == "mode.unknown_key"


def test_a_key_that_is_installed_after_all_is_not_external() -> None:
    assert parse_mode("shop:invoice", declared=DECLARED, external={"shop:invoice"}).notices == ()


def test_external_keys_do_not_fill_a_star() -> None:
    error = refusal("*,-workflow:*,-shop:*,-async-task:*", external={"mail:send"})
    assert error.code == "mode.nothing_left"


def test_a_node_for_services_says_when_none_is_installed() -> None:
    assert "no installed plugin declares" in parse_mode("*", declared=()).notices[0]
    assert parse_mode("!", declared=()).notices == ()


@pytest.mark.parametrize(
    ("name", "misspelt"),
    [("WORKER_MODE", False), ("WORKERMODE", True), ("worker_mode", True), ("WORKER_MODES", True),
     ("NOCOHOST_WORKER_MODE", True), ("WORKER-MODE", True), ("WORKER_NODE", False), ("MODE", False)],
)  # fmt: skip
def test_misspelt_variables_are_recognised(name: str, misspelt: bool) -> None:
    assert misspells_worker_mode(name) is misspelt
