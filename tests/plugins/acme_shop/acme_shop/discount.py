"""The step ``shop.discount``: who has ordered often pays less; loaded only where workflows run."""

from typing import Any

from builtin_plugins.workflow import StepCall, StepType
from nocohost import App, hookimpl


async def discount(call: StepCall, app: App) -> Any:
    """Return the discount of a customer in percent, and how many orders it is for."""
    orders = await app.resources.count("shop.orders", filter={"customer": call.params.customer})
    percent = min(orders * call.params.percent_per_order, call.params.most_percent)
    return {"orders": orders, "percent": percent}


@hookimpl
def register_step_types(app: App) -> list[StepType]:
    """Say how discounts are found."""
    return [StepType("shop.discount", discount, timeout_seconds=10)]
