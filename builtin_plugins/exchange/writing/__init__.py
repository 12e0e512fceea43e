"""Chunks of rows into a table, each way of importing on each database: all of a chunk that fits, or none of it."""
