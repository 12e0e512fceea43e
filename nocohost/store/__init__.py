"""SQL and nothing else: schema, migrations, and every compare-and-set."""

from nocohost.store.deferred_orm import defer_orm

defer_orm()
