"""What plugins declare, and what becomes of those that contradict each other."""

from typing import Any

import pytest
from pydantic import BaseModel

from nocohost import JobType, hookimpl, hookspec
from nocohost.api.errors import PluginContractError
from nocohost.plugins.entry import State


class ShopSettings(BaseModel):
    currency: str = "EUR"


class Order(BaseModel):
    number: int


def declaring(*jobs: JobType, settings: type[BaseModel] | None = None, specs: tuple[type, ...] = ()) -> list[Any]:
    """Return the hook implementations that declare these."""

    @hookimpl
    def register_jobs():
        return list(jobs)

    @hookimpl
    def register_settings():
        return settings

    @hookimpl
    def register_hookspecs():
        return list(specs)

    chosen = [(register_jobs, jobs), (register_settings, settings), (register_hookspecs, specs)]
    return [function for function, given in chosen if given]


def specs(name: str) -> type:
    def hook(self, value): ...

    hook.__name__ = name
    return type("Specs", (), {name: hookspec(hook)})


def test_job_types_are_found_by_key(make_guest, stage) -> None:
    invoice = JobType("shop:invoice", payload=Order, attempts=2)
    declarations = stage(make_guest("declarations", "shop", *declaring(invoice))).declarations
    assert declarations.job_type("shop:invoice") is invoice
    assert declarations.job_type("shop:other") is None
    assert dict(declarations.job_types) == {"shop:invoice": invoice}


def test_a_job_type_declares_no_key(make_guest, stage) -> None:
    staged = stage(make_guest("declarations", "shop", *declaring(JobType("shop:invoice"))))
    assert staged.catalogue.declared_keys == frozenset()


def test_a_job_type_whose_key_looks_misspelt_is_a_notice(make_guest, stage) -> None:
    @hookimpl
    def register_services(app): ...

    service = make_guest("services", "shop:invoice", register_services)
    staged = stage(service, make_guest("declarations", "shop", *declaring(JobType("shop:invoise"), JobType("x:y"))))
    (notice,) = staged.declarations.notices
    assert "shop:invoise" in notice
    assert "did it mean shop:invoice?" in notice
    assert staged.log.events("declarations.notice") == [{"notice": notice}]


def test_settings_are_found_by_their_model_and_frozen(make_guest, stage) -> None:
    guest = make_guest("declarations", "shop", *declaring(settings=ShopSettings))
    declarations = stage(guest, shop={"currency": "CHF"}).declarations
    assert declarations.settings(ShopSettings).currency == "CHF"
    with pytest.raises(ValueError, match="frozen"):
        declarations.settings(ShopSettings).currency = "USD"
    with pytest.raises(PluginContractError, match=r"declares the settings .*Order"):
        declarations.settings(Order)


def test_wrong_settings_are_the_operators_fault_and_quarantine_nobody(make_guest, stage) -> None:
    guest = make_guest("declarations", "shop", *declaring(JobType("shop:invoice"), settings=Order))
    declarations = stage(guest, shop={"number": "many"}).declarations
    (fault,) = declarations.setting_faults
    assert fault.startswith("NOCOHOST_PLUGINS__SHOP__NUMBER: ")
    assert declarations.failures == {}
    assert declarations.job_type("shop:invoice") is not None


def test_settings_of_a_quarantined_plugin_are_no_notice(make_guest, stage) -> None:
    guest = make_guest("declarations", "shop")
    declarations = stage(guest, shop={"currency": "CHF"}).declarations
    assert declarations.failures[guest].state is State.QUARANTINED
    assert declarations.notices == ()


def test_the_distribution_that_offers_the_service_may_describe_its_jobs(make_guest, stage) -> None:
    owner = make_guest("declarations", "shop", *declaring(JobType("shop:invoice", priority=1)))
    thief = make_guest("declarations", "other", *declaring(JobType("shop:invoice")), distribution="other")
    service = make_guest("services", "shop:invoice", *declaring(JobType("a:b")))
    declarations = stage(owner, thief, service).declarations
    assert set(declarations.failures) == {thief}
    assert declarations.job_types["shop:invoice"].priority == 1


def test_otherwise_neither_may(make_guest, stage) -> None:
    one = make_guest("declarations", "one", *declaring(JobType("a:b")), distribution="one")
    two = make_guest("declarations", "two", *declaring(JobType("a:b")), distribution="two")
    declarations = stage(one, two).declarations
    assert set(declarations.failures) == {one, two}
    assert dict(declarations.job_types) == {}


def test_two_plugins_cannot_declare_the_same_settings(make_guest, stage) -> None:
    one = make_guest("declarations", "one", *declaring(settings=ShopSettings), distribution="one")
    two = make_guest("declarations", "two", *declaring(settings=ShopSettings), distribution="two")
    assert set(stage(one, two).declarations.failures) == {one, two}


def test_published_hooks_may_be_implemented_by_declarations(make_guest, stage) -> None:
    @hookimpl
    def register_forms(value):
        return [value]

    publisher = make_guest("declarations", "publisher", *declaring(specs=(specs("register_forms"),)))
    user = make_guest("declarations", "user", register_forms, distribution="user")
    staged = stage(user, publisher)
    assert [hook.hook for hook in staged.declarations.published] == ["register_forms"]
    hooks = staged.declarations.node_hooks(staged.log)
    assert hooks.call("register_forms", value=3) == [("user", [3])]


def test_whoever_is_quarantined_takes_its_hooks_back(make_guest, stage) -> None:
    @hookimpl
    def register_forms(): ...

    broken = [*declaring(specs=(specs("register_forms"),)), hookimpl(lambda wrong: None)]
    publisher = make_guest("declarations", "publisher", *broken[:1], register_jobs=broken[1])
    user = make_guest("declarations", "user", register_forms, distribution="user")
    chain = make_guest("declarations", "chain", register_forms, distribution="chain")
    failures = stage(publisher, user, chain).declarations.failures
    assert failures[publisher].state is State.QUARANTINED
    assert failures[user].state is failures[chain].state is State.DISABLED


def test_two_nodes_of_one_process_share_no_implementations(make_guest, stage) -> None:
    staged = stage(make_guest("declarations", "publisher", *declaring(specs=(specs("register_forms"),))))
    one, other = staged.declarations.node_hooks(staged.log), staged.declarations.node_hooks(staged.log)

    @hookimpl
    def register_forms(): ...

    extension = make_guest("extensions", "a:a/x", register_forms)
    from nocohost.plugins.contract import Implementation

    one.register(extension, "x", [Implementation("register_forms", register_forms, register_forms.nocohost_impl)])
    assert len(one.call("register_forms", value=1)) == 1
    assert other.call("register_forms", value=1) == []
