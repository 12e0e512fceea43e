"""What verbs print, and that nothing printed can play tricks on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocohost.api.errors import (
    NocohostError,
    SchemaVersionError,
    SettingError,
    StorageUnavailableError,
    StoreUnavailableError,
)
from nocohost.cli.output import UNAVAILABLE, exit_code, printable, show_error, show_json, show_table


def test_a_table_is_aligned_and_ends_where_its_text_ends(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["key", "nodes", "why"], [("shop:invoice", 2, None), ("a:b", 10, "none")])
    assert capsys.readouterr().out == (
        "key           nodes  why\n"
        "shop:invoice  2\n"
        "a:b           10     none\n"
    )  # fmt: skip


def test_a_table_without_rows_has_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["id", "state"], [])
    assert capsys.readouterr().out == "id  state\n"


def test_a_cell_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["a"], [("one\ntwo\x1b[2J",)])
    assert capsys.readouterr().out == "a\none\\ntwo\\x1b[2J\n"


@given(st.text())
def test_whatever_is_printed_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text) == text or not text.isprintable()


def test_an_error_is_one_line_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(NocohostError("it\nfailed", hint="do this"))
    assert capsys.readouterr().err == "nocohost: it\\nfailed (do this)\n"


@pytest.mark.parametrize("kind", [StoreUnavailableError, SchemaVersionError, StorageUnavailableError])
def test_what_a_verb_depends_on_and_cannot_reach_has_an_exit_code_of_its_own(kind: type[NocohostError]) -> None:
    assert exit_code(kind("it is away")) == UNAVAILABLE


@pytest.mark.parametrize("message", ["2 settings are wrong", "2 settings are wrong: a: no; b: no"])
def test_several_faults_have_a_line_each(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_error(SettingError(message, hint="check", faults=["a: no", "b: no"]))
    assert capsys.readouterr().err == "nocohost: 2 settings are wrong (check)\n  a: no\n  b: no\n"


def test_one_fault_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(SettingError("a: no", hint="check", faults=["a: no"]))
    assert capsys.readouterr().err == "nocohost: a: no (check)\n"


def test_json_escapes_what_a_terminal_or_an_encoding_would_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": "é\udcff\x1b"})
    assert capsys.readouterr().out.isascii()
