"""``resource.*``: records are read, and written in the transaction that records the step: once, or not at all."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from builtin_plugins.workflow.step_type import StepCall
from builtin_plugins.workflow.steps.contract import Beginning
from nocohost import App, Record


class WriteRecord:
    """``resource.create``, ``update`` and ``delete``; subscribers are told in the same transaction."""

    async def begin(self, beginning: Beginning) -> Any:
        """Write the record and return it as JSON has it."""
        params, door = beginning.call.params, beginning.app.resources
        connection = beginning.connection
        if beginning.call.type == "resource.create":
            record = await door.create(params.resource, params.values, connection=connection)
        elif beginning.call.type == "resource.update":
            record = await door.update(params.resource, params.id, params.values, connection=connection)
        else:
            record = await door.delete(params.resource, params.id, connection=connection)
        return shown(beginning.app, params.resource, record)


async def query(call: StepCall, app: App) -> Any:
    """Return records of a resource as JSON has them."""
    params = call.params
    page = await app.resources.list(
        params.resource, filter=params.filter, sort=params.sort, fields=params.fields, limit=params.limit
    )
    return [shown(app, params.resource, record) for record in page.items]


async def aggregate(call: StepCall, app: App) -> Any:
    """Return a number over the records of a resource, null over none; sums and averages are doubles."""
    params = call.params
    if params.function == "count":
        return await app.resources.count(params.resource, filter=params.filter)
    chosen = app.resources.bulk.select(params.resource, filter=params.filter, fields=[params.field])
    column = chosen.order_by(None).subquery().columns[0]
    async with app.database.connect() as connection:
        found = await connection.scalar(select(getattr(func, params.function)(column)))
    if found is None or params.function in ("sum", "avg"):
        return None if found is None else float(found)
    return shown(app, params.resource, {params.field: found})[params.field]


def shown(app: App, name: str, record: Record) -> Mapping[str, Any]:
    """Return a record as JSON has it."""
    return app.resources.declared[name].show(record)
