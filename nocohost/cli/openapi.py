"""``nocohost openapi``: the description of the API, without a node."""

import os
import sys

import click

from nocohost.cli.output import show_json
from nocohost.host.api import described_routes
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
    log = make_log(sys.stderr, level="error", form=settings.log.format)
    catalogue = read_catalogue()
    declarations = load_declarations(
        catalogue,
        import_seconds=settings.import_seconds,
        plugin_settings=settings.plugins,
        log=log,
    )
    routes = described_routes(settings, catalogue, declarations, log)
    show_json(describe(api_operations(declarations.resources, routes)))
