"""Every hook, setting, error code and verb is documented, and mentioned by a test; nothing else is documented."""

import re

import promises
import pytest
from source_tree import ROOT, read_module, read_modules

from builtin_plugins.async_task.command import task
from builtin_plugins.async_task.settings import TaskSettings
from builtin_plugins.workflow.command import workflow
from builtin_plugins.workflow.settings import WorkflowSettings
from nocohost.api import hookspecs
from nocohost.cli.main import VERBS as OWN_VERBS
from nocohost.cli.main import load
from nocohost.node.settings import Settings

REFERENCE = ROOT / "docs" / "reference"
HOUSE = read_modules(ROOT, "nocohost")
TESTS = "\n".join(module.text for module in read_modules(ROOT, "tests") if not module.where.startswith("tests/house/"))
HOOKS = promises.hook_names(hookspecs)
SETTINGS = list(promises.setting_names(Settings))
GUESTS = read_modules(ROOT, "builtin_plugins")
GUEST_SETTINGS = [
    f"plugins.{plugin}.{name}"
    for plugin, model in (("async_task", TaskSettings), ("workflow", WorkflowSettings))
    for name in promises.setting_names(model)
]
GUEST_HOOKS = ["register_task_forms", "register_task_kinds", "register_step_forms", "register_step_types"]
GUEST_VERBS = (task, workflow)
CODES = sorted(promises.error_codes([*HOUSE, *GUESTS]))
ERRORS = read_module(ROOT, ROOT / "nocohost" / "api" / "errors.py").text
VERBS = {
    " ".join(path): command
    for verb in OWN_VERBS
    for path, command in [((verb.name,), load(verb.reference)), *promises.verbs(load(verb.reference), (verb.name,))]
} | {
    " ".join(path): command
    for verb in GUEST_VERBS
    for path, command in [((str(verb.name),), verb), *promises.verbs(verb, (str(verb.name),))]
}


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def demand(text: str, pattern: str, complaint: str) -> None:
    if re.search(pattern, text) is None:
        pytest.fail(complaint, pytrace=False)


@pytest.mark.parametrize("hook", [*HOOKS, *GUEST_HOOKS])
def test_a_hook_is_documented_and_tested(hook):
    demand(page("hooks.md"), rf"`{hook}\b", f"docs/reference/hooks.md does not tell of {hook}")
    demand(TESTS, rf"\b{hook}\b", f"no test mentions {hook}")


@pytest.mark.parametrize("setting", [*SETTINGS, *GUEST_SETTINGS])
def test_a_setting_is_documented_and_tested(setting):
    names = f"{re.escape(setting)}|{promises.variable_of(setting)}"
    demand(page("settings.md"), rf"`({names})\b", f"docs/reference/settings.md does not tell of {setting}")
    demand(TESTS, rf"\b({names})\b", f"no test mentions {setting} or {promises.variable_of(setting)}")


@pytest.mark.parametrize("code", CODES)
def test_an_error_code_is_documented_and_tested(code):
    demand(page("errors.md"), re.escape(f"| `{code}` |"), f"docs/reference/errors.md does not tell of {code}")
    names = "|".join([re.escape(code), *classes_of(code)])
    demand(TESTS, rf"\b({names})\b", f"no test mentions {code}")


def classes_of(code: str) -> list[str]:
    """Return the error classes whose own code this is: a test may name the class instead."""
    found = re.findall(r'^class (\w+)\(.*?^    code = "([^"]+)"', ERRORS, flags=re.DOTALL | re.MULTILINE)
    return [name for name, own in found if own == code]


def test_every_documented_error_code_is_one():
    documented = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", page("errors.md"), flags=re.MULTILINE)
    assert set(documented) - set(CODES) == set()
    assert len(documented) == len(set(documented))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_documented_with_all_its_options_and_tested(verb):
    section = sections(page("cli.md")).get(verb)
    assert section is not None, f"docs/reference/cli.md has no section on: nocohost {verb}"
    missing = [option for option in promises.options(VERBS[verb]) if f"`{option}" not in section]
    assert not missing, f"docs/reference/cli.md leaves out of nocohost {verb}: {missing}"
    spoken = r"""['"]?,? ['"]?""".join(verb.split())
    demand(TESTS, rf"""['" ]{spoken}\b""", f"no test calls: nocohost {verb}")


def test_every_documented_verb_and_option_is_there():
    for verb, section in sections(page("cli.md")).items():
        assert verb in VERBS, f"docs/reference/cli.md tells of nocohost {verb}, which is not there"
        known = {name for item in VERBS[verb].params for name in item.opts} | {"--help"}
        documented = re.findall(r"^- `(--[a-z-]+)", section, flags=re.MULTILINE)
        assert set(documented) <= known, f"nocohost {verb} has no {set(documented) - known}"


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading ``nocohost VERB`` of the reference."""
    parts = re.split(r"^#+ `nocohost ([a-z -]+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_line_of_the_facade_is_documented():
    names = (ROOT / "tests" / "house" / "facade.txt").read_text().partition("\n\n")[0]
    text = page("python.md")
    missing = [name.split()[0] for name in names.splitlines() if not re.search(rf"\b{name.split()[0]}\b", text)]
    assert not missing


def test_the_promises_are_read_out_of_the_code():
    """The measure itself: each kind is found, and not by accident everything."""
    assert "register_jobs" in HOOKS
    assert {"worker_mode", "http.port", "queue.profile"} <= set(SETTINGS)
    assert {"mode.empty_term", "mode.unknown_key", "queue.payload", "http.not_found"} <= set(CODES)
    assert {"mode explain", "db upgrade", "token create"} <= set(VERBS)
    assert classes_of("queue.payload") == ["PayloadError"]
    assert sections("# x\n## `nocohost up`\nUp.\n") == {"up": "\nUp.\n"}
