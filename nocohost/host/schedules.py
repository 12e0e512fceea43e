"""The schedules of a node: those that its services register, and the loop that fires what is due under its keys."""

from collections.abc import Callable

from nocohost.host.build import NodeParts
from nocohost.plugins.activation import Activation
from nocohost.queue.coded_schedules import CodedSchedules, ServiceSchedules
from nocohost.queue.schedule import ScheduleLoop


def make_schedule_loop(parts: NodeParts, activation: Activation, on_fired: Callable[[str], None]) -> ScheduleLoop:
    """Return the loop for what is active on this node; ``on_fired(key)`` is called for each job that it makes."""
    services = [
        ServiceSchedules(entry.name, entry.distribution, schedules) for entry, schedules in activation.schedules
    ]
    coded = CodedSchedules(parts.database, parts.app.node.id, services, parts.make_queue().checked, log=parts.log)
    return ScheduleLoop(
        parts.database,
        activation.served_keys,
        coded,
        parts.declarations.job_type,
        clock=parts.clock,
        log=parts.log,
        on_fired=on_fired,
    )
