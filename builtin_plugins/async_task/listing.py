"""Pages of tasks, as they stand now."""

from dataclasses import dataclass

from builtin_plugins.async_task.form import is_kind
from builtin_plugins.async_task.records import OPEN, STATES, list_tasks
from builtin_plugins.async_task.standing import Standing, stand
from nocohost import App, is_id


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which tasks are asked for; None leaves the choice open."""

    limit: int
    after: str | None = None
    kind: str | None = None
    state: str | None = None
    owner: str | None = None

    def fault(self) -> str:
        """Return what is wrong with it, "" when nothing is."""
        if self.after is not None and not is_id(self.after):
            return "after is no cursor; take it from next of the page before."
        if self.kind is not None and not is_kind(self.kind):
            return f"{self.kind[:100]!r} is no kind of task."
        if self.state is not None and self.state not in STATES:
            return f"{self.state[:100]!r} is no state; one of: {', '.join(STATES)}."
        return ""


async def list_page(app: App, query: ListQuery) -> tuple[list[Standing], str | None]:
    """Return tasks, newest first, and the cursor of the page after them; None on the last one.

    A page of tasks in one state may have fewer than there is room for: what stands otherwise by its job is left out.
    """
    states: tuple[str, ...] = () if query.state is None else (query.state,)
    if query.state == "pending":
        states = OPEN  # an attempt that is to be repeated runs by what is stored
    async with app.database.connect() as connection:
        rows = await list_tasks(
            connection, limit=query.limit + 1, after=query.after, owner=query.owner, kind=query.kind, states=states
        )
    shown = rows[: query.limit]
    items = await stand(app, shown)
    kept = [one for one in items if query.state is None or one.state == query.state]
    return kept, shown[-1].id if len(rows) > query.limit else None
