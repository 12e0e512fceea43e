"""``nocohost openapi``: the description of the API, without a node."""

import click

from nocohost.cli.output import show_json
from nocohost.web.application import api_operations
from nocohost.web.openapi import describe


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 description of the API, as /api/openapi.json answers it."""
    show_json(describe(api_operations()))
