"""Hypothesis for the unit tests: a machine that is busy with something else makes no example fail."""

from hypothesis import settings

settings.register_profile("nocohost", deadline=None)
settings.load_profile("nocohost")
