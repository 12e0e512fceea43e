"""Schedules that are set and removed within the transaction of somebody else."""

import pytest
from integration.test_schedules import make_door, nightly

from nocohost.api.errors import PayloadError
from nocohost.store.database import SqlDatabase


async def test_a_schedule_is_set_and_removed_in_the_transaction_of_its_caller(database: SqlDatabase) -> None:
    door = make_door(database)
    changed: list[str] = []
    door.on_changed = changed.append
    async with database.begin() as connection:
        await door.set(nightly(), connection=connection)
        await connection.rollback()
    assert (await door.list(), changed) == ([], [])
    async with database.begin() as connection:
        await door.set(nightly(), connection=connection)
        assert changed == []
    assert (len(await door.list()), changed) == (1, ["nightly"])
    async with database.begin() as connection:
        assert await door.remove("nightly", connection=connection) is True
        await connection.rollback()
    assert len(await door.list()) == 1
    async with database.begin() as connection:
        assert await door.remove("nightly", connection=connection) is True
        with pytest.raises(PayloadError, match="time zone"):
            await door.set(nightly(cron="@daily", timezone="Mars/Base"), connection=connection)
    assert (await door.list(), changed) == ([], ["nightly"])
