"""Schedules of plugins, checked where the service that registers them is activated."""

import json
from collections.abc import Callable

from pydantic import ValidationError

from nocohost.api.app import App
from nocohost.api.errors import PluginContractError, UnknownKeyError
from nocohost.api.schedule import Schedule
from nocohost.api.service import JobType
from nocohost.node.ticks import read_ticks


def check_schedule(schedule: Schedule, app: App, job_type: Callable[[str], JobType | None]) -> None:
    """Raise ``PluginContractError`` unless the schedule can tick, its key is declared and its payload fits."""
    read_ticks(schedule)
    where = f"schedule {schedule.name!r}"
    try:
        app.serving(schedule.key)
    except UnknownKeyError as error:
        raise PluginContractError(f"{where}: {error.message}", hint=error.hint) from error
    try:
        text = json.dumps(dict(schedule.payload), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginContractError(f"{where}: its payload is not JSON: {error}") from error
    declared = job_type(schedule.key)
    if declared is None or declared.payload is None:
        return
    try:
        declared.payload.model_validate_json(text)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'payload'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise PluginContractError(
            f"{where}: its payload does not fit {schedule.key}: {'; '.join(faults)}",
            hint=f"see {declared.payload.__name__}",
        ) from error
