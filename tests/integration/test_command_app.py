"""The app of a plugin's own command: everything but serving."""

import io
from uuid import UUID

import pytest

from nocohost.api.errors import PluginContractError
from nocohost.host.command import open_command_app


async def test_a_command_reaches_queue_database_and_published_hooks_and_serves_nothing(tmp_path):
    environ = {"NOCOHOST_DATA_DIR": str(tmp_path), "WORKER_MODE": "!,*"}
    async with open_command_app(environ, io.StringIO()) as app:
        assert not app.serving()
        assert app.mode.is_transient
        job = await app.queue.enqueue("shop:invoice", {"order": 1})
        async with app.database.connect() as connection:
            assert (await connection.exec_driver_sql("SELECT id FROM nocohost_jobs")).scalar_one() == UUID(job.id).hex
        made = await app.resources.create("shop.customers", {"name": "Ada"})
        assert await app.resources.get("shop.customers", made["id"]) == made
        with pytest.raises(PluginContractError, match="no installed plugin publishes the hook"):
            app.hooks.call("nobody_publishes_this")
