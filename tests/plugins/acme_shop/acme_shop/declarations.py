"""What every node must know of the shop: its jobs, its tables, its settings, and the hook it publishes."""

from collections.abc import Sequence
from decimal import Decimal

from pydantic import BaseModel, Field

from acme_shop.discount_form import DiscountParams
from acme_shop.report_form import ReportParams
from acme_shop.tables import customers, orders
from builtin_plugins.async_task import TaskForm
from builtin_plugins.workflow import StepForm
from nocohost import JobType, Resource, hookimpl, hookspec


class InvoiceOrder(BaseModel):
    """The payload of a ``shop:invoice`` job."""

    order: int = Field(ge=1, description="number of the order")


class ShopSettings(BaseModel):
    """Read from ``NOCOHOST_PLUGINS__SHOP__*``."""

    tax_percent: Decimal = Field(default=Decimal(19), ge=0, le=100)
    currency: str = Field(default="EUR", pattern="[A-Z]{3}")


class ShopHooks:
    """Hooks that other plugins may implement as an extension of ``shop:invoice``."""

    @hookspec
    def invoice_surcharge(self, customer: str, net: Decimal) -> Decimal:  # type: ignore[empty-body]
        """Return what to add to the net total of an invoice for ``customer``."""


@hookimpl
def register_jobs() -> list[JobType]:
    """Declare ``shop:invoice``, so that every node can check its payload."""
    return [JobType("shop:invoice", payload=InvoiceOrder, description="makes the invoice of one order")]


@hookimpl
def register_resources() -> list[Resource]:
    """Share customers and orders with the API, with tasks and with workflows."""
    of_customers = {
        "name": "Name",
        "email": "E-mail",
        "is_business": "Business",
        "credit": "Credit",
        "since": "Since",
    }
    of_orders = {"customer": "Customer", "net": "Net total", "ordered_at": "Ordered at", "customer_id": "Account"}
    return [
        Resource(
            "shop.customers",
            customers,
            title="Customers",
            field_titles=of_customers,
            read="shop.read",
            write="shop.write",
        ),
        Resource("shop.orders", orders, title="Orders", field_titles=of_orders, read="shop.read", write="shop.order"),
    ]


@hookimpl
def register_task_forms() -> list[TaskForm]:
    """Declare what a ``shop-report`` task takes, so that every node can check it."""
    return [
        TaskForm("shop-report", "Totals by customer", ReportParams, permissions_of=lambda params, app: ["shop.read"])
    ]


@hookimpl
def register_settings() -> type[BaseModel]:
    """Declare the settings of the shop."""
    return ShopSettings


@hookimpl
def register_hookspecs() -> Sequence[type]:
    """Publish the shop's own hook."""
    return [ShopHooks]


@hookimpl
def register_step_forms() -> list[StepForm]:
    """Declare what ``shop.discount`` steps of workflows take."""
    return [StepForm("shop.discount", "Discount of a customer", DiscountParams)]
