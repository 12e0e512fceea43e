"""Where rows go: which keys the table itself keeps apart."""

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, UniqueConstraint, func

from builtin_plugins.exchange.mode import Mode
from builtin_plugins.exchange.writing.target import Target
from nocohost import Resource

people = Table(
    "people",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("number", Integer, unique=True),
    Column("mail", Text),
    Column("name", Text),
    Column("place", Text),
    Column("phone", Text),
    UniqueConstraint("name", "place"),
    UniqueConstraint("phone", deferrable=True),
)
Index("people_by_mail", func.lower(people.c.mail), unique=True)
Index("people_of_place", people.c.place, unique=True, postgresql_where=people.c.id > 5)


@pytest.mark.parametrize(
    ("key", "is_unique"),
    [
        (("id",), True),
        (("number",), True),
        (("place", "name"), True),
        (("name",), False),
        (("mail",), False),
        (("phone",), False),
        (("place",), False),
    ],
)
def test_a_key_is_unique_when_every_statement_is_held_to_it(key, is_unique):
    resource = Resource("club.people", people, read="club.read", write="club.write")
    fields = tuple(resource.fields.values())
    assert Target(resource, Mode.UPSERT, fields, key).is_unique is is_unique
