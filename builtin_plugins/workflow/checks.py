"""What a definition names outside of itself: resources, keys, kinds of tasks, times; checked from declarations."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from builtin_plugins.async_task import TaskDesk
from builtin_plugins.workflow.definition import Definition, Step
from builtin_plugins.workflow.errors import DefinitionError
from nocohost import App, UnknownKeyError

ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
CRON_LETTERS = 255


def check_names(app: App, definition: Definition) -> None:
    """Raise ``DefinitionError`` for every name that no installed plugin declares; what is an expression is left."""
    faults = [*_trigger_faults(app, definition)]
    for step in definition.walk():
        faults += [f"{step.path}: {fault}" for fault in _step_faults(app, step)]
    if faults:
        raise DefinitionError(f"the definition names what is not there: {'; '.join(faults[:3])}", faults=faults)


def _trigger_faults(app: App, definition: Definition) -> Iterator[str]:
    params = definition.trigger.params
    if definition.trigger.type == "resource":
        declared = app.resources.declared
        if params["resource"] not in declared:
            yield f"/trigger/resource: {_unknown('resource', params['resource'], declared)}"
            return
        known = declared[params["resource"]].fields
        yield from (f"/trigger/fields: {_unknown('field', one, known)}" for one in params["fields"] if one not in known)
    elif definition.trigger.type == "schedule":
        yield from _time_faults(params)


def _time_faults(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ``app.schedules`` would refuse, each by its path and whether or not the version is to be enabled."""
    zone, cron = str(params["timezone"]), params["cron"]
    if not _is_zone(zone):
        yield f"/trigger/timezone: {zone[:80]!r} is no time zone"
    if cron is None or cron.strip().lower() in ALIASES:
        return
    if len(cron.split()) != 5 or len(cron) > CRON_LETTERS:
        yield f"/trigger/cron: {cron[:80]!r} is neither five fields nor one of {', '.join(sorted(ALIASES))}"
        return
    try:
        CronSim(cron, datetime.now(UTC))
    except (CronSimError, ValueError, AssertionError) as error:
        yield f"/trigger/cron: {error}"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return name != "localtime"  # each machine has its own


def _step_faults(app: App, step: Step) -> Iterator[str]:
    params = step.params
    if step.type.startswith("resource.") and isinstance(params.get("resource"), str):
        declared = app.resources.declared
        if params["resource"] not in declared:
            yield _unknown("resource", params["resource"], declared)
    elif step.type == "job" and isinstance(params.get("job"), str):
        try:
            app.serving(params["job"])
        except UnknownKeyError as error:
            yield f"{error.message}; {error.hint}" if error.hint else error.message
    elif step.type == "task" and isinstance(params.get("kind"), str):
        kinds = TaskDesk(app).kinds()
        if params["kind"] not in kinds:
            yield _unknown("kind of task", params["kind"], kinds)


def _unknown(what: str, name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"there is no {what} {name[:80]!r}{f'; did you mean {near[0]!r}?' if near else ''}"
