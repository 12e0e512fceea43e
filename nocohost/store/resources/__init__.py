"""Resources: the tables that plugins share, read and written for the API, for tasks and for workflows."""
