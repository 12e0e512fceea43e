"""The catalogue as a value: order, declared keys, duplicates, names."""

import pytest

from nocohost.api.errors import DuplicateServiceError, PluginDisabledError
from nocohost.plugins.catalogue import CatalogueEntry, catalogue_of
from nocohost.plugins.entry import State


def entry(group: str, name: str, distribution: str = "acme", module: str = "acme.module") -> CatalogueEntry:
    return CatalogueEntry(f"nocohost.{group}", name, distribution, "1.0", module)


def test_a_catalogue_is_ordered_by_group_and_name() -> None:
    catalogue = catalogue_of(
        [
            entry("commands", "b"),
            entry("requests", "acme"),
            entry("services", "b:b"),
            entry("services", "a:a"),
            entry("declarations", "acme"),
        ]
    )
    assert [one.name for one in catalogue.entries] == ["acme", "a:a", "b:b", "acme", "b"]
    assert [one.name for one in catalogue.in_group("nocohost.services")] == ["a:a", "b:b"]


def test_only_services_declare_keys() -> None:
    catalogue = catalogue_of(
        [entry("services", "a:a"), entry("services", "Not A Key"), entry("extensions", "b:b/x"), entry("requests", "c")]
    )
    assert catalogue.declared_keys == {"a:a"}


def test_a_duplicate_key_names_both_distributions_and_still_counts_as_declared() -> None:
    catalogue = catalogue_of([entry("services", "a:a", "one"), entry("services", "a:a", "two")])
    (error,) = catalogue.duplicates
    assert isinstance(error, DuplicateServiceError)
    assert error.message == "the service key a:a is offered by one 1.0 and by two 1.0"
    assert {verdict.state for verdict in catalogue.verdicts.values()} == {State.QUARANTINED}
    assert catalogue.declared_keys == {"a:a"}


def test_a_name_twice_in_one_distribution_is_a_duplicate_too() -> None:
    catalogue = catalogue_of([entry("services", "a:a", module="acme.one"), entry("services", "a:a", module="acme.two")])
    assert len(catalogue.verdicts) == 2


def test_the_very_same_line_twice_counts_once() -> None:
    catalogue = catalogue_of([entry("services", "a:a"), entry("services", "a:a")])
    assert len(catalogue.entries) == 1
    assert not catalogue.verdicts


def test_two_plugin_names_that_give_one_environment_name_are_duplicates() -> None:
    catalogue = catalogue_of([entry("requests", "my-shop", "one"), entry("requests", "my_shop", "two")])
    assert len(catalogue.verdicts) == 2


def test_the_same_name_in_groups_of_one_distribution_is_one_plugin() -> None:
    catalogue = catalogue_of([entry(group, "shop") for group in ("declarations", "requests", "migrations", "commands")])
    assert not catalogue.verdicts


def test_two_commands_of_one_name_are_duplicates_but_no_plugin_name() -> None:
    catalogue = catalogue_of([entry("commands", "shop", "one"), entry("requests", "shop", "two")])
    assert not catalogue.verdicts
    catalogue = catalogue_of([entry("commands", "shop", "one"), entry("commands", "shop", "two")])
    assert len(catalogue.verdicts) == 2


def test_an_extension_of_a_key_nobody_offers_is_disabled_and_says_what_is_near() -> None:
    lost = entry("extensions", "shop:invoise/x", "other")
    verdict = catalogue_of([entry("services", "shop:invoice"), lost]).verdicts[lost]
    assert verdict.state is State.DISABLED
    assert isinstance(verdict.error, PluginDisabledError)
    assert "the nearest is shop:invoice" in verdict.reason


@pytest.mark.parametrize("name", ["Shop", "shop!", "", "-shop", "shop-", "9shop", "sh op", "nocohost", "NocoHost"])
def test_a_plugin_name_is_lower_case_and_not_the_hosts(name: str) -> None:
    assert catalogue_of([entry("requests", name)]).verdicts


@pytest.mark.parametrize("name", ["shop", "acme-shop", "acme_shop2", "s"])
def test_a_plain_plugin_name_is_fine(name: str) -> None:
    assert not catalogue_of([entry("requests", name)]).verdicts


@pytest.mark.parametrize(
    "name", ["shop:invoice", "shop:invoice/", "/x", "shop/x", "shop:invoice/a b", "shop:invoice/a/b"]
)
def test_an_extension_is_named_by_key_and_name(name: str) -> None:
    lost = entry("extensions", name)
    verdict = catalogue_of([entry("services", "shop:invoice"), lost]).verdicts[lost]
    assert "names no extension" in verdict.reason


def test_an_entry_says_who_it_is() -> None:
    one = entry("extensions", "shop:invoice/vat")
    assert one.key == "shop:invoice"
    assert str(one) == "nocohost.extensions shop:invoice/vat (acme 1.0)"
    assert entry("requests", "shop").key == ""


def test_whoever_follows_a_misfit_says_whom() -> None:
    entries = [entry("declarations", "shop", "one"), entry("declarations", "shop", "two")]
    service, extension = entry("services", "a:a", "one"), entry("extensions", "a:a/x", "three")
    verdicts = catalogue_of([*entries, service, extension]).verdicts
    assert verdicts[service].error.code == "plugin.error"
    assert verdicts[service].reason.startswith(
        "its declarations nocohost.declarations shop (one 1.0) are quarantined: "
    )
    assert verdicts[extension].reason.startswith("its service nocohost.services a:a (one 1.0) is quarantined: ")
