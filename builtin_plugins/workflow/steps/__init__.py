"""The types of steps that come with workflows."""
