"""The ``nocohost`` command: finds the verb, runs it, and turns errors into one line and an exit code.

A verb's module is imported when that verb runs, by its dotted name; a plugin's command likewise. Without a verb,
``run`` is meant.
"""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple

import click

from nocohost.api.errors import NocohostError
from nocohost.api.version import VERSION
from nocohost.cli.output import INTERNAL, INTERRUPTED, exit_code, show_error, show_json
from nocohost.cli.verbs import Verbs

DEFAULT = "run"
GUEST_OWNERS = "nocohost.cli.guests:guest_owners"
GUEST_COMMAND = "nocohost.cli.guest_command:guest_command"


class Verb(NamedTuple):
    """A verb of nocohost's own: its name, where its click command is, and what ``--help`` says."""

    name: str
    reference: str
    help: str


VERBS = (
    Verb("run", "nocohost.cli.run:run", "Start a node; WORKER_MODE decides what it does. This is the default."),
    Verb("up", "nocohost.cli.up:up", "Start a whole cluster on this machine, one process per mode."),
    Verb("mode", "nocohost.cli.mode:mode", "Explain a worker mode, or check those of a whole fleet."),
    Verb("plugins", "nocohost.cli.plugins:plugins", "Show what is installed, what is active here, and why."),
    Verb("config", "nocohost.cli.config:config", "Show or check the settings."),
    Verb("db", "nocohost.cli.db:db", "Upgrade the database, show its state, or purge it."),
    Verb("nodes", "nocohost.cli.nodes:nodes", "List the nodes; make one quiet, resume or stop it."),
    Verb("queue", "nocohost.cli.queue:queue", "List the queues; pause, resume or drain one."),
    Verb("jobs", "nocohost.cli.jobs:jobs", "List, show, explain, enqueue, retry, cancel and drop jobs."),
    Verb("schedules", "nocohost.cli.schedules:schedules", "List, run, pause and resume schedules."),
    Verb("token", "nocohost.cli.token:token", "Create, list and revoke API tokens."),
    Verb("doctor", "nocohost.cli.doctor:doctor", "Examine plugins, database, nodes and queues."),
    Verb("openapi", "nocohost.cli.openapi:openapi", "Print the description of the API."),
)


CHILD = Verb("child", "nocohost.cli.child:child", "What a node starts to run one handler in; not for people.")
"""The one verb that is neither listed nor suggested."""


class VerbGroup(Verbs):
    """The verbs, and the commands that plugins bring; none is imported before it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of ``VERBS``, then the commands of plugins."""
        return [verb.name for verb in VERBS] + list(load(GUEST_OWNERS)())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command ``cmd_name``; None when there is none."""
        for verb in (*VERBS, CHILD):
            if verb.name == cmd_name:
                command: click.Command = load(verb.reference)
                return command
        guest: click.Command | None = load(GUEST_COMMAND)(cmd_name)
        return guest

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default verb before arguments that name none."""
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs and the commands of plugins, without importing either."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb.name, verb.help) for verb in VERBS])
        if owners := load(GUEST_OWNERS)():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"From {owner}.") for name, owner in owners.items()])

    def invoke(self, ctx: click.Context) -> None:
        """Run the verb; what it returns is not an exit code."""
        super().invoke(ctx)


@click.command(cls=VerbGroup, name="nocohost", subcommand_metavar="[VERB] [ARGS]...")
@click.version_option(VERSION, prog_name="nocohost", message="%(prog)s %(version)s")
def nocohost() -> None:
    """One image, and WORKER_MODE decides what runs."""


def load(reference: str) -> Any:
    """Import what ``package.module:name`` names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an operator's mistake is one line, never a traceback."""
    as_json = "--json" in arguments[: arguments.index("--") if "--" in arguments else None]
    with InternalErrors():
        try:
            code = nocohost.main(args=list(arguments), prog_name="nocohost", standalone_mode=False)
        except NocohostError as error:
            show_error(error, as_json=as_json)
            return exit_code(error)
        except click.ClickException as error:
            if as_json:
                show_json({"error": {"code": "cli.usage", "message": error.format_message(), "hint": ""}})
            else:
                error.show()
            return error.exit_code
        except click.Abort:
            return INTERRUPTED
        return code if isinstance(code, int) else 0


class InternalErrors:
    """Gives a bug its traceback and the exit code that says so; signals and exits pass."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            traceback.print_exception(error)
            sys.exit(INTERNAL)
