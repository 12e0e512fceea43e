"""Subscriptions as they are stored: made, changed, removed, listed, and found by what they wait for."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.changes import Change
from nocohost.api.resources import Subscription
from nocohost.store.schema import subscriptions
from nocohost.store.types import db_now
from nocohost.store.upsert import insert_into

COLUMNS = tuple(column for column in subscriptions.c if column.name != "changed_at")


async def put_subscription(connection: AsyncConnection, subscription: Subscription) -> None:
    """Make the subscription or change the one of this name, inside the caller's write transaction."""
    values = {
        "resource": subscription.resource,
        "key": subscription.key,
        "changes": list(subscription.on),
        "fields": list(subscription.fields),
        "data": dict(subscription.data),
        "changed_at": db_now(),
    }
    putting = insert_into(connection, subscriptions).values(name=subscription.name, **values)
    await connection.execute(putting.on_conflict_do_update(index_elements=[subscriptions.c.name], set_=values))


async def remove_subscription(connection: AsyncConnection, name: str) -> bool:
    """Remove a subscription; return False without one."""
    gone = delete(subscriptions).where(subscriptions.c.name == name)
    return bool((await connection.execute(gone)).rowcount)


async def list_subscriptions(connection: AsyncConnection, resource: str | None = None) -> list[Subscription]:
    """Return every subscription, or those to one resource, by name."""
    query = select(*COLUMNS).order_by(subscriptions.c.name)
    if resource is not None:
        query = query.where(subscriptions.c.resource == resource)
    return [_subscription(row) for row in await connection.execute(query)]


async def subscribers(connection: AsyncConnection, resource: str, change: Change) -> Sequence[Subscription]:
    """Return the subscriptions to this change of the resource, by name."""
    return [one for one in await list_subscriptions(connection, resource) if change in one.on]


def _subscription(row: Row[Any]) -> Subscription:
    return Subscription(row.name, row.resource, row.key, on=tuple(row.changes), fields=tuple(row.fields), data=row.data)
