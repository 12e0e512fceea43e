"""The commands that plugins bring (entry-point group ``nocohost.commands``), as metadata names them."""

from collections.abc import Mapping

from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.entry import COMMANDS


def guest_owners() -> Mapping[str, str]:
    """Return the distribution that each command comes from, in order of the names; imports none of them."""
    return {entry.name: entry.owner for entry in read_catalogue().in_group(COMMANDS)}
