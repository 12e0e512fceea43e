"""What is installed, what this node activates, and why."""
