"""The services that come with nocohost, as guests: they use the public API and nothing else."""
