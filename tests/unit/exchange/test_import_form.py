"""What an import is told: checked on any node, before there is a task."""

from types import SimpleNamespace

import pytest
from probes.shelf import DECLARED
from pydantic import ValidationError

from builtin_plugins.exchange.declarations import register_task_forms
from builtin_plugins.exchange.import_form import ImportParams, permissions_of
from nocohost import PayloadError

APP = SimpleNamespace(resources=SimpleNamespace(declared=DECLARED))


def test_the_form_takes_a_file_and_asks_for_the_rights_of_the_resource():
    (form,) = (form for form in register_task_forms() if form.kind == "import")
    assert (form.needs_file, form.params, form.permissions_of) == (True, ImportParams, permissions_of)
    assert permissions_of(ImportParams(resource="shelf.books"), APP) == ["shelf.write"]
    looking = ImportParams(resource="shelf.books", lookups={"maker": "name"})
    assert permissions_of(looking, APP) == ["shelf.write", "shelf.read"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"resource": "shelf.boks"}, "no installed plugin declares 'shelf.boks'"),
        ({"resource": "shelf.books", "key": ["isbn", "nr"]}, "key: 'nr' is no field of shelf.books"),
        ({"resource": "shelf.books", "mapping": {"Nr": "nr"}}, "mapping: 'Nr' goes into 'nr', which is no field"),
        ({"resource": "shelf.books", "lookups": {"title": "name"}}, "lookups: 'title' refers to no resource"),
        ({"resource": "shelf.books", "lookups": {"maker": "nam"}}, "lookups: 'nam' is no field of shelf.makers"),
        ({"resource": "shelf.books", "lookups": {"x": "name"}}, "lookups: 'x' is no field of shelf.books"),
        ({"resource": "shelf.copies", "lookups": {"book": "notes"}}, "no record is found by 'notes' of shelf.books"),
    ],
)
def test_params_that_contradict_what_is_declared_are_refused_at_once(params, said):
    with pytest.raises(PayloadError) as raised:
        permissions_of(ImportParams.model_validate(params), APP)
    assert said in str(raised.value)
    assert raised.value.code == "exchange.import"


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "replace"},
        {"encoding": "rot13"},
        {"separator": "ab"},
        {"separator": '"'},
        {"timezone": "Mars/Olympus"},
        {"dates": ["DD.MM"]},
        {"decimal": ",", "thousands": ","},
        {"yes": ["J", "x"], "no": ["X"]},
        {"max_errors": 0},
        {"header_row": 0},
        {"format": "xls"},
        {"locale": "tlh"},
        {"unknown": 1},
        {"nulls": ["x" * 41]},
    ],
)
def test_params_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        ImportParams.model_validate({"resource": "shelf.books", **wrong})


def test_what_is_given_is_stronger_than_the_locale():
    meaning = ImportParams(resource="x.y", locale="de", thousands="", yes=["JO"], encoding="CP1252").meaning
    assert (meaning.decimal, meaning.thousands, meaning.dates, meaning.yes) == (",", "", ("D.M.YYYY",), {"jo"})
    assert ImportParams(resource="x.y", encoding="CP1252").encoding == "windows-1252"
    assert ImportParams(resource="x.y", separator="\t").layout.separator == "\t"
