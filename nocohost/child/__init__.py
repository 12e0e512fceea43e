"""Both ends of a work order: the node that gives it, and the child that runs it."""
