"""The commands that plugins bring (entry-point group ``nocohost.commands``), found in metadata, imported when run."""

from collections.abc import Mapping
from functools import cached_property

import click

from nocohost.api.errors import PluginContractError
from nocohost.plugins.catalogue import Catalogue, read_catalogue
from nocohost.plugins.entry import COMMANDS
from nocohost.plugins.loading import Loader

IMPORT_SECONDS = 20.0


class Guests:
    """The commands of the installed plugins."""

    @cached_property
    def catalogue(self) -> Catalogue:
        """Return what is installed."""
        return read_catalogue()

    @property
    def owners(self) -> Mapping[str, str]:
        """Return the distribution that each command comes from, in order of the names."""
        return {entry.name: entry.owner for entry in self.catalogue.in_group(COMMANDS)}

    def command(self, name: str) -> click.Command | None:
        """Import one command; None when no plugin brings it.

        Raises ``PluginError`` when it cannot be imported, is no click command, or two distributions claim the name.
        """
        for entry in self.catalogue.in_group(COMMANDS):
            if entry.name != name:
                continue
            if entry in self.catalogue.verdicts:
                raise self.catalogue.verdicts[entry].error
            command = Loader(self.catalogue, IMPORT_SECONDS).load(entry).value
            if not isinstance(command, click.Command):
                raise PluginContractError(f"{entry.reference} of {entry.owner} is no click command")
            return command
        return None
