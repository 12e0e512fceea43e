"""Sphinx builds the documentation: ``sphinx-build -W docs docs/_build``."""

from nocohost.api.version import VERSION

project = "nocohost"
copyright = "the nocohost authors"  # noqa: A001 - the name Sphinx reads
release = version = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
nitpicky = False

html_theme = "furo"
html_title = f"nocohost {VERSION}"
