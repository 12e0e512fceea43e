"""A kind of task: the totals of each customer; loaded only on nodes that serve ``async-task:process``."""

from sqlalchemy import func, select

from acme_shop.tables import orders
from builtin_plugins.async_task import BlockingTask, TaskFailedError, TaskKind, TaskResult
from nocohost import App, BlockingApp, hookimpl


def report(task: BlockingTask, app: BlockingApp) -> TaskResult:
    """Add up the orders of one customer or of all, and return the totals by customer."""
    wanted = select(orders.c.customer, func.count(), func.sum(orders.c.net)).group_by(orders.c.customer)
    if task.params.customer is not None:
        wanted = wanted.where(orders.c.customer == task.params.customer)
    with app.database.connect() as connection:
        found = connection.execute(wanted.order_by(orders.c.customer)).all()
    if task.params.customer is not None and not found:
        raise TaskFailedError(f"there is no order of {task.params.customer!r}")
    totals = {}
    for done, (customer, count, net) in enumerate(found, 1):
        totals[customer] = {"orders": count, "net": str(net)}
        task.progress(done, len(found), "customers")
    return TaskResult(value=totals)


@hookimpl
def register_task_kinds(app: App) -> list[TaskKind]:
    """Offer ``shop-report``."""
    return [TaskKind("shop-report", report, memory_mib=256, timeout_seconds=60)]
