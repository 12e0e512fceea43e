"""Resources among the declarations: found by name, and quarantined with their plugin when they cannot be."""

from sqlalchemy import Column, Integer, MetaData, Table

from nocohost import Resource, hookimpl
from nocohost.plugins.entry import State

TABLE = Table("shop_orders", MetaData(), Column("id", Integer, primary_key=True))


def order(name: str = "shop.orders") -> Resource:
    return Resource(name, TABLE, read="shop.read", write="shop.write")


def declaring(*made):
    @hookimpl
    def register_resources():
        return [one() if callable(one) else one for one in made]

    return register_resources


def reason_of(staged) -> str:
    (state,) = [one for one in staged.declarations.states if one.state is not State.ACTIVE]
    return state.reason


def test_resources_are_found_by_name_sorted(make_guest, stage):
    orders, articles = order(), order("shop.articles")
    staged = stage(make_guest("declarations", "shop", declaring(orders, articles)))
    assert list(staged.declarations.resources) == ["shop.articles", "shop.orders"]
    assert staged.declarations.resources["shop.orders"] is orders


def test_what_is_no_resource_quarantines_the_plugin(make_guest, stage):
    keyless = Table("shop_log", MetaData(), Column("line", Integer))
    cases = [
        ((order(), order()), "declares shop.orders twice"),
        ((TABLE,), "item 1 of register_resources is a Table"),
        ((order("other.orders"),), "name it shop.noun"),
        ((lambda: Resource("shop.log", keyless, read="shop.read", write="shop.write"),), "has no primary key"),
    ]
    for made, reason in cases:
        staged = stage(make_guest("declarations", "shop", declaring(*made)))
        assert reason in reason_of(staged)
        assert not staged.declarations.resources
