"""What becomes of tasks that are over: after their retention they go, and their files with them."""

from datetime import timedelta

from sqlalchemy import delete, select

from builtin_plugins.async_task.records import OPEN, SHOWN, TaskRow
from builtin_plugins.async_task.settings import TaskSettings
from builtin_plugins.async_task.standing import stand
from builtin_plugins.async_task.tables import row_errors, tasks
from nocohost import App

BATCH = 100
OPEN_BATCH = 500


async def tidy(app: App) -> int:
    """Write down the ends that nobody has looked at, remove what is past its retention, and return how many went."""
    await settle_open(app)
    before = app.clock.now() - timedelta(seconds=app.settings(TaskSettings).retention_seconds)
    removed = 0
    while True:
        async with app.database.begin() as connection:
            rows = (
                await connection.execute(
                    select(tasks.c.id, tasks.c.upload, tasks.c.result_file)
                    .where(tasks.c.finished_at < before, tasks.c.state.not_in(OPEN))
                    .limit(BATCH)
                    .with_for_update(skip_locked=True)
                )
            ).all()
            for row in rows:
                for file in (row.upload, (row.result_file or {}).get("id")):
                    if file is not None:
                        await app.storage.remove(file, connection=connection)
            ids = [row.id for row in rows]
            await connection.execute(delete(row_errors).where(row_errors.c.task_id.in_(ids)))
            await connection.execute(delete(tasks).where(tasks.c.id.in_(ids)))
        removed += len(rows)
        if len(rows) < BATCH:
            return removed


async def settle_open(app: App) -> None:
    """Look at every task that is not over by what is stored."""
    after = ""
    while True:
        query = select(*SHOWN).where(tasks.c.state.in_(OPEN), tasks.c.id > after).order_by(tasks.c.id)
        async with app.database.connect() as connection:
            found = (await connection.execute(query.limit(OPEN_BATCH))).all()
        rows = [TaskRow(**row._asdict()) for row in found]
        await stand(app, rows)
        if len(rows) < OPEN_BATCH:
            return
        after = rows[-1].id
