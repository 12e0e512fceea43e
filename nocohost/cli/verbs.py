"""Groups of verbs: what their help shows, and what was probably meant by a verb that is not there."""

from typing import Any

import click

from nocohost.api.keys import nearest

WHOLE_SENTENCE = 1000
"""Characters of a verb's first sentence that help shows; click would cut it after 45 and lose the point."""


class Verbs(click.Group):
    """Verbs under one name, ``mode`` or ``jobs``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"subcommand_metavar": "VERB [ARGS]...", **options})

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or fail with the one that was probably meant."""
        command = self.get_command(ctx, args[0])
        if command is None:
            suggestion = nearest(args[0], self.list_commands(ctx))
            ctx.fail(f"there is no verb {args[0]!r}" + (f"; did you mean {suggestion!r}?" if suggestion else ""))
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each verb with the whole first sentence of its help."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Verbs"):
            formatter.write_dl([(name, found.get_short_help_str(WHOLE_SENTENCE)) for name, found in commands if found])
