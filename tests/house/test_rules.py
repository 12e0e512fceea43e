"""The rules of the house, applied to the tree. That each of them bites is shown in ``test_rules_bite.py``."""

import tomllib

import import_rules
import pytest
import size_rules
import state_rules
import word_rules
from source_tree import ROOT, Module, read_modules

HOUSE = read_modules(ROOT, "nocohost")
GUESTS = read_modules(ROOT, "builtin_plugins", "tests/plugins")
SHIPPED = [*HOUSE, *read_modules(ROOT, "builtin_plugins")]
EVERYTHING = [*SHIPPED, *read_modules(ROOT, "tests", "docs")]
UNIT_TESTS = read_modules(ROOT, "tests/unit")

RULES = [
    (size_rules.long_files, EVERYTHING),
    (size_rules.long_functions, EVERYTHING),
    (size_rules.broad_classes, SHIPPED),
    (size_rules.wide_constructors, SHIPPED),
    (import_rules.floors, HOUSE),
    (import_rules.nested_imports, SHIPPED),
    (import_rules.owned_libraries, HOUSE),
    (import_rules.cycles, SHIPPED),
    (import_rules.guests, GUESTS),
    (state_rules.mutable_modules, SHIPPED),
    (state_rules.broad_excepts, SHIPPED),
    (state_rules.environment_readers, SHIPPED),
    (state_rules.scattered_errors, HOUSE),
    (word_rules.module_names, EVERYTHING),
    (word_rules.docstrings, EVERYTHING),
    (word_rules.identifiers, SHIPPED),
    (word_rules.hookspec_docstrings, HOUSE),
    (word_rules.sleeps, UNIT_TESTS),
]


@pytest.mark.parametrize(("rule", "modules"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_the_tree_keeps_the_rule(rule, modules):
    assert modules, "this rule looks at nothing"
    offences = list(rule(modules))
    assert not offences, "\n".join([rule.__doc__, *offences])


def test_prose_uses_the_words_of_the_glossary():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    texts = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages}
    texts.pop("docs/glossary.md")  # names the words it bans
    texts |= {module.where: docstrings_of(module) for module in SHIPPED}
    offences = list(word_rules.prose(texts))
    assert not offences, "\n".join(offences)


def test_no_file_names_a_folder_of_the_machine_it_was_written_on():
    offences = list(word_rules.machine_paths(ROOT))
    assert not offences, "\n".join(offences)


def test_the_floors_are_those_of_the_import_linter():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = [{room.strip() for room in layer.split("|")} for layer in reversed(layers)]
    assert floors == [
        {room for room, floor in import_rules.FLOORS.items() if floor == number} for number in range(len(floors))
    ]


def docstrings_of(module: Module) -> str:
    """Return the file with everything but string literals and comments left blank, so that line numbers hold."""
    lines = []
    inside = False
    for line in module.text.splitlines():
        quotes = line.count('"""')
        lines.append(line if inside or quotes else line[line.find("# ") :] if "# " in line else "")
        inside ^= quotes % 2 == 1
    return "\n".join(lines)
