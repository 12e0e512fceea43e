"""Stored files: the door to them, and the shelves outside of the database that may hold their bytes."""
