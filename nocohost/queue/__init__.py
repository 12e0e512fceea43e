"""The durable queue: enqueue, claim, run, beat and sweep."""
