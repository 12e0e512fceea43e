"""Settings of plugins: from strings to frozen values, all faults at once."""

from decimal import Decimal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from nocohost.plugins.plugin_settings import read_settings, unknown_plugins


class Shop(BaseModel):
    """The shop's settings."""

    tax_percent: Decimal = Field(default=Decimal(19), ge=0, le=100)
    currency: str = "EUR"
    countries: tuple[str, ...] = ()
    prices: dict[str, Decimal] = {}
    debug: bool = False
    password: SecretStr = SecretStr("")


class Needy(BaseModel):
    model_config = ConfigDict(frozen=True)
    url: str
    retries: int


def test_defaults_hold_where_nothing_is_given() -> None:
    settings, faults, notices = read_settings("shop", Shop, {})
    assert isinstance(settings, Shop)
    assert settings.tax_percent == 19
    assert (faults, notices) == ((), ())


def test_strings_become_what_the_fields_say() -> None:
    raw = {
        "acme_shop": {
            "tax_percent": "7.5",
            "currency": "[CHF]",
            "countries": '["CH", "LI"]',
            "prices": '{"a": "1.50"}',
            "debug": "true",
        }
    }
    settings, faults, _ = read_settings("acme-shop", Shop, raw)
    assert faults == ()
    assert isinstance(settings, Shop)
    assert settings.model_dump(exclude={"password"}) == {
        "tax_percent": Decimal("7.5"),
        "currency": "[CHF]",
        "countries": ("CH", "LI"),
        "prices": {"a": Decimal("1.50")},
        "debug": True,
    }


def test_values_of_a_file_are_taken_as_they_are() -> None:
    settings, faults, _ = read_settings("shop", Shop, {"shop": {"countries": ["CH"], "tax_percent": 8}})
    assert isinstance(settings, Shop)
    assert settings.countries == ("CH",)
    assert faults == ()


@pytest.mark.parametrize("model", [Shop, Needy])
def test_an_instance_cannot_be_changed(model: type[BaseModel]) -> None:
    settings, _, _ = read_settings("shop", model, {"shop": {"url": "x", "retries": "1"}})
    assert settings is not None
    assert isinstance(settings, model)
    assert type(settings).__name__ == model.__name__
    name = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, name, getattr(settings, name))


def test_every_fault_is_told_by_its_variable_and_without_the_value() -> None:
    raw = {"shop": {"tax_percent": "777", "password": "hunter2", "debug": "hunter2"}}
    settings, faults, _ = read_settings("shop", Shop, raw)
    assert settings is None
    assert len(faults) == 2
    assert faults[0].startswith("NOCOHOST_PLUGINS__SHOP__TAX_PERCENT: ")
    assert faults[1].startswith("NOCOHOST_PLUGINS__SHOP__DEBUG: ")
    assert "hunter2" not in str(faults)
    assert "777" not in str(faults)


def test_what_is_required_and_missing_is_a_fault() -> None:
    _, faults, _ = read_settings("my-needy", Needy, {"my_needy": {"retries": "many"}})
    assert [fault.partition(":")[0] for fault in faults] == [
        "NOCOHOST_PLUGINS__MY_NEEDY__URL",
        "NOCOHOST_PLUGINS__MY_NEEDY__RETRIES",
    ]


def test_an_unknown_field_is_a_notice_with_the_nearest() -> None:
    _, faults, notices = read_settings("shop", Shop, {"shop": {"currancy": "CHF", "zzz": "1"}})
    assert faults == ()
    near, far = notices
    assert near.startswith("NOCOHOST_PLUGINS__SHOP__CURRANCY: the plugin shop has no such setting")
    assert near.endswith("; did you mean NOCOHOST_PLUGINS__SHOP__CURRENCY?")
    assert far == "NOCOHOST_PLUGINS__SHOP__ZZZ: the plugin shop has no such setting"


def test_settings_for_a_plugin_that_declares_none_are_a_notice() -> None:
    raw = {"shop": {}, "shpo": {"x": "1"}, "acme_shop": {"x": "1"}}
    assert unknown_plugins(raw, ["shop", "acme-shop"]) == (
        "NOCOHOST_PLUGINS__SHPO__*: no installed plugin shpo declares settings; did you mean NOCOHOST_PLUGINS__SHOP__?",
    )


def test_what_a_file_gave_is_told_by_its_key_and_the_file() -> None:
    files = {"plugins.acme_shop.debug": "shop.toml", "plugins.acme_shop.currancy": "shop.toml"}
    files |= {"plugins.acme_shop.prices": "shop.toml", "plugins.shpo.x": "shop.toml"}
    raw = {"acme_shop": {"debug": "maybe", "currancy": 1, "prices": {"a": "x"}, "tax_percent": "777"}}
    _, faults, notices = read_settings("acme-shop", Shop, raw, files)
    assert [fault.partition(": ")[0] for fault in faults] == [
        "NOCOHOST_PLUGINS__ACME_SHOP__TAX_PERCENT",
        "plugins.acme_shop.prices.a (shop.toml)",
        "plugins.acme_shop.debug (shop.toml)",
    ]
    assert notices == (
        (
            "plugins.acme_shop.currancy (shop.toml): the plugin acme-shop has no such setting; "
            "did you mean plugins.acme_shop.currency?"
        ),
    )
    assert unknown_plugins({"shpo": {"x": 1}}, ["shop"], files) == (
        "[plugins.shpo] (shop.toml): no installed plugin shpo declares settings; did you mean [plugins.shop]?",
    )
