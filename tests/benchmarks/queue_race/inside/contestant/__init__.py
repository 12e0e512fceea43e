"""What runs in a contestant's own Python: its driver, the client that uses it, the jobs' body. Nothing but stdlib."""
