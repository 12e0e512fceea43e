"""Which plugin an entry point belongs to."""

from nocohost.plugins.entry import CatalogueEntry
from nocohost.plugins.ownership import declarations_of, plugin_of


def entry(group: str, name: str, module: str, distribution: str = "acme-shop") -> CatalogueEntry:
    return CatalogueEntry(f"nocohost.{group}", name, distribution, "1.0", module)


SHOP = entry("declarations", "shop", "acme_shop.declarations")
WORKFLOW = entry("declarations", "workflow", "builtin_plugins.workflow.declarations", "nocohost")
TASKS = entry("declarations", "async-task", "builtin_plugins.async_task.declarations", "nocohost")


def test_a_service_belongs_to_the_declarations_of_its_distribution() -> None:
    service = entry("services", "billing:invoice", "acme_shop.invoice")
    assert declarations_of(service, [SHOP, WORKFLOW, service]) is SHOP
    assert plugin_of(service, [SHOP, WORKFLOW, service]) == "shop"


def test_without_declarations_it_belongs_to_its_distribution() -> None:
    service = entry("services", "shop:invoice", "acme_shop.invoice")
    assert declarations_of(service, [WORKFLOW, service]) is None
    assert plugin_of(service, [WORKFLOW, service]) == "acme-shop"


def test_in_a_distribution_with_several_plugins_the_package_decides() -> None:
    entries = [WORKFLOW, TASKS]
    service = entry("services", "jobs:run", "builtin_plugins.async_task.process", "nocohost")
    assert plugin_of(service, entries) == "async-task"
    command = entry("commands", "task", "builtin_plugins.async_task.commands", "nocohost")
    assert plugin_of(command, entries) == "async-task"


def test_where_the_package_does_not_tell_the_namespace_does() -> None:
    entries = [entry("declarations", "one", "flat.one"), entry("declarations", "async_task", "flat.two")]
    entries = [CatalogueEntry(one.group, one.name, "flat", "1.0", one.module) for one in entries]
    service = entry("services", "async-task:process", "flat.three", "flat")
    assert plugin_of(service, entries) == "async_task"
    assert declarations_of(entry("services", "else:where", "flat.three", "flat"), entries) is None


def test_requests_and_migrations_are_named_by_their_plugin() -> None:
    requests = entry("requests", "shop-api", "acme_shop.routes")
    assert plugin_of(requests, [SHOP, requests]) == "shop-api"
    assert declarations_of(requests, [SHOP, requests]) is SHOP


def test_of_several_declarations_the_one_of_the_same_name_governs() -> None:
    requests = entry("requests", "async_task", "builtin_plugins.workflow.odd", "nocohost")
    assert declarations_of(requests, [WORKFLOW, TASKS]) is TASKS


def test_another_distributions_declarations_never_govern() -> None:
    extension = entry("extensions", "workflow:process/vat", "acme_vat.step", "acme-vat")
    assert declarations_of(extension, [WORKFLOW, SHOP]) is None
