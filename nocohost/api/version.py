"""The version of nocohost, in the one place that packaging reads too."""

VERSION = "0.1.0"
