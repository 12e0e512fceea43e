"""One command that a plugin brings, imported because somebody calls it."""

import click

from nocohost.api.errors import PluginContractError
from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.entry import COMMANDS
from nocohost.plugins.loading import Loader

IMPORT_SECONDS = 20.0


def guest_command(name: str) -> click.Command | None:
    """Import one command; None when no plugin brings it.

    Raises ``PluginError`` when it cannot be imported, is no click command, or two distributions claim the name.
    """
    catalogue = read_catalogue()
    for entry in catalogue.in_group(COMMANDS):
        if entry.name != name:
            continue
        if entry in catalogue.verdicts:
            raise catalogue.verdicts[entry].error
        command = Loader(catalogue, IMPORT_SECONDS).load(entry).value
        if not isinstance(command, click.Command):
            raise PluginContractError(f"{entry.reference} of {entry.owner} is no click command")
        return command
    return None
