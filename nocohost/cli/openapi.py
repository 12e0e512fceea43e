"""``nocohost openapi``: the description of the API, without a node."""

import os
import sys

import click

from nocohost.cli.output import show_json
from nocohost.host.log import make_log
from nocohost.node.settings import load_settings
from nocohost.plugins.catalogue import read_catalogue
from nocohost.plugins.declarations import load_declarations
from nocohost.web.application import api_operations
from nocohost.web.openapi import describe


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 description of the API, as /api/openapi.json answers it.

    The resources of the installed plugins are part of it, as far as their declarations can be read.
    """
    settings = load_settings(os.environ).settings
    declarations = load_declarations(
        read_catalogue(),
        import_seconds=settings.import_seconds,
        plugin_settings=settings.plugins,
        log=make_log(sys.stderr, level="error", form=settings.log.format),
    )
    show_json(describe(api_operations(declarations.resources)))
