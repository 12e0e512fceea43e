"""``nocohost mode``: what a worker mode means, and whether those of a fleet serve everything."""

import os
from collections.abc import Sequence

import click

from nocohost.cli.output import PROBLEMS_FOUND, json_option, printable, show_json, show_table
from nocohost.cli.verbs import Verbs
from nocohost.node.fleet import Finding, FleetPlan, PlannedNode, lint
from nocohost.node.manifests import read_manifest
from nocohost.node.mode import parse_mode
from nocohost.node.settings import load_settings
from nocohost.plugins.catalogue import read_catalogue

UNKNOWN_OPTIONS = "ignore_unknown_options"
"""A mode may start with a dash, so what looks like an unknown option is taken as one."""


@click.group(cls=Verbs)
def mode() -> None:
    """Explain a worker mode, or check those of a whole fleet, before anything starts.

    Quote modes: shells and YAML read some of them otherwise.
    """


@mode.command(context_settings={UNKNOWN_OPTIONS: True})
@click.argument("string")
@json_option
def explain(string: str, as_json: bool) -> None:
    """Say what a node with WORKER_MODE=STRING would serve here, and which term decides it."""
    settings = load_settings(os.environ).settings
    declared = read_catalogue().declared_keys
    parsed = parse_mode(string, declared=declared, external=settings.external_keys, required=settings.require_mode)
    served = sorted(key for key in declared if parsed.mode.covers(key))
    if as_json:
        show_json(
            {
                "canonical": parsed.mode.canonical,
                "requests": parsed.mode.serves_requests,
                "services": served,
                "transient": parsed.mode.is_transient,
                "notices": list(parsed.notices),
            }
        )
        return
    click.echo(f"mode      {parsed.mode.canonical}")
    click.echo(f"requests  {'served' if parsed.mode.serves_requests else 'not served'}")
    click.echo(f"services  {len(served)} of {len(declared)} installed")
    for notice in parsed.notices:
        click.echo(f"notice    {notice}")
    if declared:
        click.echo()
        deciding = [(key, *parsed.mode.deciding_term(key)) for key in sorted(declared)]
        show_table(
            ["service key", "here", "because of"],
            [(key, "served" if yes else "not served", term or "not named") for key, yes, term in deciding],
        )


@mode.command(context_settings={UNKNOWN_OPTIONS: True})
@click.argument("strings", nargs=-1, metavar="[STRING]...")
@click.option(
    "--from",
    "files",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    multiple=True,
    help="A Compose file or Kubernetes manifests; - for standard input. May be given more than once.",
)
@json_option
@click.pass_context
def plan(ctx: click.Context, strings: Sequence[str], files: Sequence[str], as_json: bool) -> None:
    """Say what a fleet of nodes with these modes would leave unserved; exit 3 when that is an error."""
    if not strings and not files:
        raise click.UsageError("name the modes of the nodes, or a file with --from")
    settings = load_settings(os.environ).settings
    nodes: list[str | PlannedNode] = [*strings]
    found: list[Finding] = []
    for file in files:
        manifest = read_manifest(_text_of(file), "standard input" if file == "-" else file)
        nodes += manifest.nodes
        found += manifest.findings
    fleet = lint(
        nodes,
        declared=read_catalogue().declared_keys,
        external=settings.external_keys,
        required=settings.require_mode,
        found=found,
    )
    if as_json:
        show_json(fleet.as_dict())
    else:
        _show(fleet)
    if fleet.has_errors:
        ctx.exit(PROBLEMS_FOUND)


def _text_of(file: str) -> str:
    try:
        with click.open_file(file, encoding="utf-8") as stream:
            text: str = stream.read()
            return text
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise click.BadParameter(f"{file} {reason}", param_hint="--from") from None


def _show(fleet: FleetPlan) -> None:
    show_table(
        ["mode", "nodes", "serves", "from"],
        [
            (node.mode.canonical, node.plan.replicas, ", ".join(node.serves) or "nothing", node.plan.where)
            for node in fleet.nodes
        ],
    )
    click.echo()
    show_table(["served", "nodes"], fleet.coverage.items())
    click.echo()
    for finding in fleet.findings:
        click.echo(printable(f"{finding.level:8} {finding.code:24} {finding.message} [{finding.where}]"))
    click.echo("problems found" if fleet.has_errors else "everything is served")
