"""SQL and nothing else: schema, migrations, and every compare-and-set."""
