"""The queue benchmark: contestants, each in a Python and on a store of its own, measured side by side."""
