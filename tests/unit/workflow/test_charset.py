"""Text that others send: whatever charset they name, it is a text in the end, and soon."""

import pytest

from builtin_plugins.workflow.charset import NO_CHARSETS, decoded


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        (b"gr\xfcn", "latin-1", "grün"),
        ("grün".encode(), "klingon", "grün"),
        (b"gr\xfcn", "utf-8", "gr\N{REPLACEMENT CHARACTER}n"),
        (b"x", "hex", "x"),
        (b"x", "a\0b", "x"),
    ],
)
def test_a_body_is_read_in_its_charset_or_else_as_utf_8(body, charset, text):
    assert decoded(body, charset) == text


@pytest.mark.parametrize("codec", sorted(NO_CHARSETS))
def test_a_codec_that_is_no_charset_is_not_asked(codec):
    assert decoded(rb"xn--bcher-kva \u0041", codec) == r"xn--bcher-kva \u0041"
