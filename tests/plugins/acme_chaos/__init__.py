"""A plugin whose jobs leave a trail outside the database, for the chaos bench to read."""
