"""The command line's base: verbs found late, errors as one line and an exit code, commands of plugins."""

import json
import sys
from types import ModuleType

import click
import pytest

from nocohost.api import errors
from nocohost.api.version import VERSION
from nocohost.cli import main as cli
from nocohost.cli.main import DEFAULT, VERBS, VerbGroup, execute, load
from nocohost.plugins.catalogue import Catalogue, catalogue_of
from nocohost.plugins.entry import COMMANDS, CatalogueEntry


def entry(name: str, module: str, attribute: str = "command", distribution: str = "acme-shop") -> CatalogueEntry:
    return CatalogueEntry(COMMANDS, name, distribution, "1.0", module, attribute)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    def install(*entries: CatalogueEntry) -> Catalogue:
        catalogue = catalogue_of(entries)
        monkeypatch.setattr("nocohost.cli.guests.read_catalogue", lambda: catalogue)
        monkeypatch.setattr("nocohost.cli.guest_command.read_catalogue", lambda: catalogue)
        return catalogue

    install()
    return install


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch, install):
    """Install one command of a plugin, given as a function."""

    def guest(function, **options) -> None:
        module = ModuleType("guest_module")
        module.command = click.command()(function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "guest_module", module)
        install(entry("greet", "guest_module"))

    return guest


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"nocohost {VERSION}\n"


def test_help_lists_verbs_and_the_commands_of_plugins_without_importing_them(
    capsys: pytest.CaptureFixture[str], install
) -> None:
    install(entry("greet", "no_such_module"), entry("bye", "no_such_module", distribution="acme-bye"))
    assert execute(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"  {name} ") for name in [*(verb.name for verb in VERBS), "bye", "greet"]]
    assert places == sorted(places)
    assert "From acme-shop 1.0." in text
    assert "no_such_module" not in sys.modules


def test_every_verb_says_what_it_does() -> None:
    assert all(verb.help.endswith(".") and ":" in verb.reference for verb in VERBS)
    assert len({verb.name for verb in VERBS}) == len(VERBS)
    assert DEFAULT in {verb.name for verb in VERBS}


def test_the_verb_that_nodes_start_children_by_is_not_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--help"]) == 0
    assert cli.CHILD.name not in capsys.readouterr().out.split()
    assert load(cli.CHILD.reference).hidden
    assert execute(["child"]) == 2
    assert execute(["chil"]) == 2
    assert "did you mean 'child'" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], ["run"]), (["--port", "1"], ["run", "--port", "1"]), (["mode"], ["mode"]), (["--help"], ["--help"])],
)
def test_run_is_the_default(
    arguments: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []

    def remember(self: click.Group, ctx: click.Context, args: list[str]) -> list[str]:
        seen.append(args)
        ctx.exit(0)

    monkeypatch.setattr(click.Group, "parse_args", remember)
    assert execute(arguments) == 0
    assert seen == [expected]


def test_an_unknown_verb_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str], install) -> None:
    assert execute(["mdoe"]) == 2
    assert "there is no verb 'mdoe'; did you mean 'mode'?" in capsys.readouterr().err
    install(entry("greet", "no_such_module"))
    assert execute(["great"]) == 2
    assert "did you mean 'greet'?" in capsys.readouterr().err
    assert execute(["zzzzzz"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_usage_errors_are_json_when_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mode", "explain", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told == {"error": {"code": "cli.usage", "message": "Missing argument 'STRING'.", "hint": ""}}


def test_json_after_two_dashes_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["mode", "nothing", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WorkerModeError("no"), 2),
        (errors.SettingError("no"), 2),
        (errors.UnknownKeyError("no"), 2),
        (errors.PayloadError("no"), 2),
        (errors.PayloadTooLargeError("no"), 2),
        (errors.JobNotFoundError("no"), 1),
        (errors.ScheduleNotFoundError("no"), 1),
        (errors.JobConflictError("no"), 1),
        (errors.PluginLoadError("no"), 1),
        (errors.StoreError("no"), 1),
        (errors.StoreUnavailableError("no"), 69),
        (errors.SchemaVersionError("no"), 69),
        (errors.FenceLostError("no"), 70),
    ],
)
def test_errors_become_exit_codes_and_one_line(
    error: errors.NocohostError, code: int, guest, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    guest(fail)
    assert execute(["greet"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "nocohost: no\n"


def test_errors_are_json_when_json_is_asked_for(guest, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(as_json: bool) -> None:
        raise errors.PayloadError("the payload does not fit", hint="see the job type", faults=["a: missing", "b: no"])

    guest(click.option("--json", "as_json", is_flag=True)(fail))
    assert execute(["greet", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out) == {
        "error": {
            "code": "queue.payload",
            "message": "the payload does not fit: a: missing; b: no",
            "hint": "see the job type",
        }
    }


def test_a_bug_shows_its_traceback_and_exits_70(guest, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    guest(fail)
    with pytest.raises(SystemExit) as caught:
        execute(["greet"])
    assert caught.value.code == 70
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


def test_ctrl_c_exits_130(guest) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    guest(fail)
    assert execute(["greet"]) == 130


def test_what_a_command_returns_is_no_exit_code(guest) -> None:
    guest(lambda: 5)
    assert execute(["greet"]) == 0


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_may_set_the_exit_code(guest, code: int) -> None:
    guest(lambda: click.get_current_context().exit(code))
    assert execute(["greet"]) == code


def test_arguments_reach_the_command_of_a_plugin(guest, capsys: pytest.CaptureFixture[str]) -> None:
    guest(click.argument("name")(lambda name: click.echo(f"hello {name}")))
    assert execute(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert execute(["greet", "--help"]) == 0
    assert "Usage: nocohost greet [OPTIONS] NAME" in capsys.readouterr().out


def test_a_command_that_cannot_be_imported_is_one_line(install, capsys: pytest.CaptureFixture[str]) -> None:
    install(entry("greet", "no_such_module"))
    assert execute(["greet"]) == 1
    printed = capsys.readouterr().err
    assert "no_such_module" in printed
    assert printed.count("\n") == 1


def test_what_is_no_command_is_said_to_be_none(install, capsys: pytest.CaptureFixture[str]) -> None:
    install(entry("greet", "json", "dumps"))
    assert execute(["greet"]) == 1
    assert "json:dumps of acme-shop 1.0 is no click command" in capsys.readouterr().err


def test_two_distributions_with_one_command_are_both_refused(install, capsys: pytest.CaptureFixture[str]) -> None:
    install(entry("greet", "one"), entry("greet", "two", distribution="acme-bye"))
    assert execute(["greet"]) == 1
    printed = capsys.readouterr().err
    assert "acme-shop" in printed
    assert "acme-bye" in printed


def test_a_plugin_does_not_replace_a_verb(install, capsys: pytest.CaptureFixture[str]) -> None:
    install(entry("mode", "no_such_module"))
    assert execute(["mode", "explain", "-"]) == 0
    assert capsys.readouterr().out.startswith("mode      -\n")


def test_a_reference_names_a_module_and_what_is_in_it() -> None:
    assert load("nocohost.cli.main:VerbGroup") is VerbGroup
    assert cli.nocohost.name == "nocohost"


@pytest.mark.parametrize("family", [verb.name for verb in VERBS if isinstance(load(verb.reference), click.Group)])
def test_the_help_of_a_family_shows_whole_sentences_and_its_misspelt_verbs_are_suggested(
    capsys: pytest.CaptureFixture[str], family: str
) -> None:
    group = load({verb.name: verb.reference for verb in VERBS}[family])
    assert execute([family, "--help"]) == 0
    words = capsys.readouterr().out
    assert "..." not in words.partition("Verbs:")[2]
    name = next(iter(group.commands))
    assert execute([family, f"{name}x"]) == 2
    assert f"did you mean '{name}'?" in capsys.readouterr().err
