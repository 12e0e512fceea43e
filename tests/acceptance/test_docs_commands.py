"""What README and documentation show on a console is what one gets."""

import os
import sys
from pathlib import Path

import pytest
from console_blocks import Command, commands_of, matches, run

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "<!-- run" in page.read_text(encoding="utf-8")
]
PLANTED = """
<!-- run -->
```console
$ echo one \\
  two
one two
$ printf 'a\\nb\\nc\\n'
a
...
```

```console
$ never
```

<!-- run: exit 3 -->
```console
$ exit 3
```
"""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_shows(page, tmp_path):
    commands = list(commands_of((ROOT / page).read_text(encoding="utf-8")))
    assert commands, f"{page}: no console block follows the mark"
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "COLUMNS": "120",
    }
    faults = [fault for command in commands if (fault := run(command, tmp_path, environment))]
    assert not faults, f"{page}, " + "\n".join(faults)


def test_the_command_reference_is_executed():
    assert "docs/reference/cli.md" in PAGES


def test_the_tutorial_lists_every_module_of_its_plugin():
    listed = (ROOT / "docs" / "tutorial" / "first-plugin.md").read_text(encoding="utf-8").split("```")[1]
    modules = [module.name for module in (ROOT / "tests" / "plugins" / "acme_shop" / "acme_shop").rglob("*.py")]
    assert [name for name in modules if f" {name}" not in listed] == []


def test_only_marked_blocks_are_run():
    assert list(commands_of(PLANTED)) == [
        Command(4, "echo one   two", "one two\n"),
        Command(7, "printf 'a\\nb\\nc\\n'", "a\n...\n"),
        Command(18, "exit 3", "", 3),
    ]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (Command(1, "echo one", "one\n"), ""),
        (Command(1, "echo one", "two\n"), "it printed (exit 0)\none"),
        (Command(1, "echo one; exit 1", "one\n"), "exit 1"),
        (Command(1, "echo one; exit 1", "one\n", 1), ""),
        (Command(1, "pwd", "/...\n"), ""),
    ],
)
def test_a_command_that_does_something_else_is_a_fault(command, fault, tmp_path):
    said = run(command, tmp_path, {"PATH": os.defpath})
    assert fault in said
    assert bool(said) == bool(fault)


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nz\n", True),
        ("a\n", "a   \n\n", True),
        ("a.b\n", "axb\n", False),
        ("", "", True),
        ("", "a\n", False),
    ],
)
def test_dots_stand_for_anything(shown, printed, expected):
    assert matches(shown, printed) is expected
