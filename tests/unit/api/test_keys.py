"""Service keys and their nearest neighbours."""

import pytest

from nocohost.api.keys import is_key, namespace_of, nearest


@pytest.mark.parametrize("text", ["shop:invoice", "a:b", "async-task:process", "s3:put-2"])
def test_a_key_is_a_noun_and_a_verb(text):
    assert is_key(text)


@pytest.mark.parametrize(
    "text", ["", "shop", "shop:", ":invoice", "Shop:invoice", "shop:in voice", "shop:*", "a:b:c", "1shop:x", "shop:x\n"]
)
def test_anything_else_is_none(text):
    assert not is_key(text)


def test_the_namespace_is_what_stands_before_the_colon():
    assert namespace_of("shop:invoice") == "shop"


def test_the_nearest_key_is_suggested_only_when_it_is_near():
    known = ["shop:invoice", "workflow:process"]
    assert nearest("shop:invoise", known) == "shop:invoice"
    assert nearest("mail:send", known) == ""
    assert nearest("shop:invoice", []) == ""
