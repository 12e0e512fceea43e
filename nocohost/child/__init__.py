"""Where handlers run that do not run on the event loop: threads of the node, and children of their own."""
