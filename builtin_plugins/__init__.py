"""The services that come with nocohost, as guests: they use the public API and nothing else.

None is here yet: ``workflow:process`` and ``async-task:process`` arrive with their own releases.
"""
