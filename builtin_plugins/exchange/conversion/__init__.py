"""Cells become values of fields: what a title means, how a locale writes, what a column takes."""
