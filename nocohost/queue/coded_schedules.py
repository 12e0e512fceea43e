"""Schedules in code, brought to their rows by one node at a time: that of the newest code that serves their owner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from packaging.version import InvalidVersion, Version

from nocohost.api.errors import PluginContractError, QueueError
from nocohost.api.log import Log
from nocohost.api.schedule import Schedule
from nocohost.store.database import SqlDatabase
from nocohost.store.glance import glance
from nocohost.store.nodes import NodeRow, live_nodes
from nocohost.store.schedules import ScheduleRow, changes_of, coded_schedules, drop_coded, put_schedule

COMPARE_SECONDS = 60.0
COMPARE_AGAIN_SECONDS = 5.0
"""How soon to look again while rows differ from the code here, because the code of another node decides."""
JOINED_STATES = ("starting", "serving", "quiet")


@dataclass(frozen=True)
class ServiceSchedules:
    """The schedules that one service of this node registers."""

    owner: str
    """Its service key."""
    distribution: str
    schedules: Sequence[Schedule]


class CodedSchedules:
    """Makes, changes and removes the rows of schedules in code, as far as this node's code decides about them.

    The code of a service decides on the live node that serves it with the newest version of its distribution; of equal
    versions, on the node that started last. All nodes judge by the same node rows, so code of two kinds in one cluster
    does not take turns.
    """

    def __init__(
        self,
        database: SqlDatabase,
        node_id: str,
        services: Sequence[ServiceSchedules],
        check: Callable[[str, Any], Any],
        *,
        log: Log,
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._services = services
        self._check = check
        self._log = log
        self._refusals: dict[str, str] = {}

    async def compare(self) -> float:
        """Compare the rows with the code and mend them where this node decides; return the seconds until the next."""
        async with glance(self._database) as connection:
            rows = await coded_schedules(connection, [service.owner for service in self._services])
        differing = {}
        for service in self._services:
            wanted = {one.name: (one, payload) for one, payload in self._checked(service)}
            standing = {row.name: row for row in rows if row.owner == service.owner}
            if wanted.keys() != standing.keys() or any(changes_of(standing[name], *wanted[name]) for name in wanted):
                differing[service.owner] = (service, wanted, standing)
        if not differing:
            return COMPARE_SECONDS
        async with glance(self._database) as connection:
            nodes = await live_nodes(connection)
        mine = [
            parts for owner, parts in differing.items() if decides(self._node_id, owner, parts[0].distribution, nodes)
        ]
        for service, wanted, standing in mine:
            await self._drop_vanished(service.owner, standing, wanted)
        served = {key for node in nodes for key in node.services}
        for service, wanted, _ in mine:
            for schedule, payload in wanted.values():
                await self._put(service.owner, schedule, payload, served)
        return COMPARE_SECONDS if len(mine) == len(differing) else COMPARE_AGAIN_SECONDS

    def _checked(self, service: ServiceSchedules) -> list[tuple[Schedule, Any]]:
        """Return the schedules with their payloads as they are stored, without those that cannot be."""
        checked = []
        for schedule in service.schedules:
            try:
                checked.append((schedule, self._check(schedule.key, dict(schedule.payload))))
            except QueueError as error:
                self._refuse(service.owner, schedule, error)
        return checked

    async def _drop_vanished(
        self, owner: str, standing: Mapping[str, ScheduleRow], wanted: Mapping[str, tuple[Schedule, Any]]
    ) -> None:
        for name in standing.keys() - wanted.keys():
            async with self._database.begin() as connection:
                gone = await drop_coded(connection, name, owner)
            if gone:
                self._log.info("schedule.removed", schedule=name, owner=owner)

    async def _put(self, owner: str, schedule: Schedule, payload: Any, served: set[str]) -> None:
        try:
            async with self._database.begin() as connection:
                is_new = await put_schedule(connection, schedule, payload, owner=owner, served=served)
        except (QueueError, PluginContractError) as error:
            self._refuse(owner, schedule, error)
            return
        if is_new:
            self._log.info("schedule.changed", schedule=schedule.name, key=schedule.key, owner=owner)

    def _refuse(self, owner: str, schedule: Schedule, error: Exception) -> None:
        """Say why there is no such schedule, once for each reason."""
        if self._refusals.get(schedule.name) != str(error):
            self._refusals[schedule.name] = str(error)
            self._log.error("schedule.refused", schedule=schedule.name, owner=owner, reason=str(error))


def decides(node_id: str, owner: str, distribution: str, nodes: Sequence[NodeRow]) -> bool:
    """Tell whether the code on this node decides about the schedules of the service ``owner``."""

    def age(node: NodeRow) -> tuple[Version, datetime, str]:
        return _version(node.plugins.get(distribution, "")), node.started_at, node.id

    serving = [node for node in nodes if owner in node.services and node.state in JOINED_STATES]
    return bool(serving) and max(serving, key=age).id == node_id


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0.dev0")
