"""Which optional libraries are missing, and which extra would bring them."""

import pytest

from nocohost.plugins.requirements import extra_of_module, extras, missing_for_extra

REQUIRES = (
    "pluggy>=1",
    'no-such-thing>=2; extra == "big"',
    "pluggy; extra == 'big'",
    'pluggy>=99; extra == "future"',
    'no-such-cloud-storage; extra == "cloud"',
    'no-such-windows; sys_platform == "win32" and extra == "windows"',
    "not a requirement at all ; ; extra == 'odd'",
)


def test_the_extras_of_a_distribution_are_those_its_requirements_mention() -> None:
    assert extras(REQUIRES) == ("big", "future", "cloud", "windows", "odd")


@pytest.mark.parametrize(
    ("extra", "missing"),
    [
        ("big", ("no-such-thing>=2",)),
        ("future", ("pluggy>=99",)),
        ("windows", ()),
        ("odd", ()),
        ("unheard-of", ()),
    ],
)
def test_an_extra_misses_what_is_not_installed_or_too_old(extra: str, missing: tuple[str, ...]) -> None:
    assert missing_for_extra(REQUIRES, extra) == missing


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("no_such_thing", "big"),
        ("no_such_thing.inner", "big"),
        ("no_such.cloud", "cloud"),
        ("no_such_cloud_storage.blobs", "cloud"),
        ("pluggy.nothing", "future"),
        ("something_else", ""),
        ("no_such_things", ""),
    ],
)
def test_a_missing_module_is_brought_by_the_extra_whose_requirement_is_named_like_it(module: str, extra: str) -> None:
    assert extra_of_module(REQUIRES, module)[0] == extra


def test_on_an_empty_path_nothing_is_installed() -> None:
    assert missing_for_extra(["pluggy; extra == 'x'"], "x", path=[]) == ("pluggy",)
