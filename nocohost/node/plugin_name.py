"""The names of plugins, in the form in which two of them are the same."""


def plugin_slug(plugin: str) -> str:
    """Return how settings and tables spell the name of a plugin: lower case, with ``_`` for ``-``."""
    return plugin.lower().replace("-", "_")
