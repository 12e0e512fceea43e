"""``app.resources.subscriptions``: standing orders, checked against what is declared before they are kept."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nocohost.api.errors import ResourceQueryError
from nocohost.api.resource import Resource
from nocohost.api.resources import Subscription
from nocohost.api.sort import parse_names
from nocohost.store.database import SqlDatabase
from nocohost.store.resources.door import unknown_resource
from nocohost.store.resources.events import EventQueue
from nocohost.store.subscriptions import list_subscriptions, put_subscription, remove_subscription

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class StandingOrders:
    """Implements ``nocohost.api.resources.Subscriptions``."""

    def __init__(self, database: SqlDatabase, declared: Mapping[str, Resource], queue: EventQueue) -> None:
        self._database = database
        self._declared = declared
        self._queue = queue

    async def set(self, subscription: Subscription, *, connection: "AsyncConnection | None" = None) -> None:
        """Make the subscription, or change the one of this name."""
        resource = self._declared.get(subscription.resource)
        if resource is None:
            raise unknown_resource(subscription.resource, self._declared)
        parse_names(subscription.fields, resource.fields)
        self._queue.require_key(subscription.key)
        if len(repr(subscription.data)) * 4 > self._queue.payload_bytes:
            raise ResourceQueryError(f"subscription {subscription.name!r}: its data leaves no room for records")
        if connection is not None:
            await put_subscription(connection, subscription)
            return
        async with self._database.begin() as own:
            await put_subscription(own, subscription)

    async def remove(self, name: str, *, connection: "AsyncConnection | None" = None) -> bool:
        """Remove the subscription of this name; return False without one."""
        if connection is not None:
            return await remove_subscription(connection, name)
        async with self._database.begin() as own:
            return await remove_subscription(own, name)

    async def list(self, resource: str | None = None) -> Sequence[Subscription]:
        """Return every subscription, or those to one resource, by name."""
        async with self._database.connect() as connection:
            return await list_subscriptions(connection, resource)
