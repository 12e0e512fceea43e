"""nocohost: one image, and WORKER_MODE decides what runs.

This façade holds every public name. A name is imported when it is first used, so ``import nocohost`` alone loads no
third-party package.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nocohost.api.app import App as App
    from nocohost.api.app import Database as Database
    from nocohost.api.app import Hooks as Hooks
    from nocohost.api.app import Lock as Lock
    from nocohost.api.app import Locks as Locks
    from nocohost.api.app import Node as Node
    from nocohost.api.app import Queue as Queue
    from nocohost.api.app import Schedules as Schedules
    from nocohost.api.app import Signals as Signals
    from nocohost.api.blocking import BlockingApp as BlockingApp
    from nocohost.api.blocking import BlockingJob as BlockingJob
    from nocohost.api.bulk import BlockingBulk as BlockingBulk
    from nocohost.api.bulk import Bulk as Bulk
    from nocohost.api.changes import Record as Record
    from nocohost.api.check import Check as Check
    from nocohost.api.clock import Clock as Clock
    from nocohost.api.errors import AttemptCancelledError as AttemptCancelledError
    from nocohost.api.errors import ConfigError as ConfigError
    from nocohost.api.errors import FenceLostError as FenceLostError
    from nocohost.api.errors import FileTooLargeError as FileTooLargeError
    from nocohost.api.errors import JobConflictError as JobConflictError
    from nocohost.api.errors import JobNotFoundError as JobNotFoundError
    from nocohost.api.errors import LockLostError as LockLostError
    from nocohost.api.errors import LockTimeoutError as LockTimeoutError
    from nocohost.api.errors import NocohostError as NocohostError
    from nocohost.api.errors import PayloadError as PayloadError
    from nocohost.api.errors import PayloadTooLargeError as PayloadTooLargeError
    from nocohost.api.errors import PluginContractError as PluginContractError
    from nocohost.api.errors import PluginError as PluginError
    from nocohost.api.errors import QueueError as QueueError
    from nocohost.api.errors import RecordConflictError as RecordConflictError
    from nocohost.api.errors import RecordNotFoundError as RecordNotFoundError
    from nocohost.api.errors import RecordValuesError as RecordValuesError
    from nocohost.api.errors import ResourceError as ResourceError
    from nocohost.api.errors import ResourceNotFoundError as ResourceNotFoundError
    from nocohost.api.errors import ResourceQueryError as ResourceQueryError
    from nocohost.api.errors import StorageError as StorageError
    from nocohost.api.errors import StorageUnavailableError as StorageUnavailableError
    from nocohost.api.errors import StoredFileNotFoundError as StoredFileNotFoundError
    from nocohost.api.errors import StoreError as StoreError
    from nocohost.api.errors import UnknownKeyError as UnknownKeyError
    from nocohost.api.errors import UnservedError as UnservedError
    from nocohost.api.field import Field as Field
    from nocohost.api.field import Kind as Kind
    from nocohost.api.hookspecs import hookimpl as hookimpl
    from nocohost.api.hookspecs import hookspec as hookspec
    from nocohost.api.job import DeadLetter as DeadLetter
    from nocohost.api.job import Job as Job
    from nocohost.api.job import JobReport as JobReport
    from nocohost.api.job import JobState as JobState
    from nocohost.api.job import Retry as Retry
    from nocohost.api.job import Snooze as Snooze
    from nocohost.api.log import Log as Log
    from nocohost.api.mode import WorkerMode as WorkerMode
    from nocohost.api.principal import Principal as Principal
    from nocohost.api.resource import Resource as Resource
    from nocohost.api.resources import Page as Page
    from nocohost.api.resources import Resources as Resources
    from nocohost.api.resources import Subscription as Subscription
    from nocohost.api.resources import Subscriptions as Subscriptions
    from nocohost.api.routes import ApiDescription as ApiDescription
    from nocohost.api.routes import ApiParameter as ApiParameter
    from nocohost.api.routes import Route as Route
    from nocohost.api.routes import api_route as api_route
    from nocohost.api.routes import route as route
    from nocohost.api.schedule import Schedule as Schedule
    from nocohost.api.service import Backoff as Backoff
    from nocohost.api.service import JobType as JobType
    from nocohost.api.service import Rate as Rate
    from nocohost.api.service import Service as Service
    from nocohost.api.storage import Storage as Storage
    from nocohost.api.storage import StoredFile as StoredFile
    from nocohost.api.version import VERSION as VERSION
    from nocohost.cli.app import pass_app as pass_app
    from nocohost.store.types import Instant as Instant
    from nocohost.store.types import JsonText as JsonText
    from nocohost.web.downloads import send_file as send_file
    from nocohost.web.event_stream import stream_changes as stream_changes
    from nocohost.web.json_body import fit_model as fit_model
    from nocohost.web.json_body import read_model as read_model
    from nocohost.web.json_body import strict_loads as strict_loads
    from nocohost.web.keys import APP as APP
    from nocohost.web.keys import PRINCIPAL as PRINCIPAL
    from nocohost.web.query import MAX_PAGE_ITEMS as MAX_PAGE_ITEMS
    from nocohost.web.query import idempotency_key as idempotency_key
    from nocohost.web.query import is_id as is_id
    from nocohost.web.query import page_items as page_items
    from nocohost.web.query import read_query as read_query
    from nocohost.web.uploads import ReceivedForm as ReceivedForm
    from nocohost.web.uploads import receive_form as receive_form

_HOMES: Mapping[str, tuple[str, ...]] = {
    "api.app": ("App", "Database", "Hooks", "Lock", "Locks", "Node", "Queue", "Schedules", "Signals"),
    "api.blocking": ("BlockingApp", "BlockingJob"),
    "api.bulk": ("BlockingBulk", "Bulk"),
    "api.changes": ("Record",),
    "api.check": ("Check",),
    "api.clock": ("Clock",),
    "api.errors": (
        "AttemptCancelledError",
        "ConfigError",
        "FenceLostError",
        "FileTooLargeError",
        "JobConflictError",
        "JobNotFoundError",
        "LockLostError",
        "LockTimeoutError",
        "NocohostError",
        "PayloadError",
        "PayloadTooLargeError",
        "PluginContractError",
        "PluginError",
        "QueueError",
        "RecordConflictError",
        "RecordNotFoundError",
        "RecordValuesError",
        "ResourceError",
        "ResourceNotFoundError",
        "ResourceQueryError",
        "StorageError",
        "StorageUnavailableError",
        "StoreError",
        "StoredFileNotFoundError",
        "UnknownKeyError",
        "UnservedError",
    ),
    "api.field": ("Field", "Kind"),
    "api.hookspecs": ("hookimpl", "hookspec"),
    "api.job": ("DeadLetter", "Job", "JobReport", "JobState", "Retry", "Snooze"),
    "api.log": ("Log",),
    "api.mode": ("WorkerMode",),
    "api.principal": ("Principal",),
    "api.resource": ("Resource",),
    "api.resources": ("Page", "Resources", "Subscription", "Subscriptions"),
    "api.routes": ("ApiDescription", "ApiParameter", "Route", "api_route", "route"),
    "api.schedule": ("Schedule",),
    "api.service": ("Backoff", "JobType", "Rate", "Service"),
    "api.storage": ("Storage", "StoredFile"),
    "api.version": ("VERSION",),
    "cli.app": ("pass_app",),
    "store.types": ("Instant", "JsonText"),
    "web.downloads": ("send_file",),
    "web.event_stream": ("stream_changes",),
    "web.json_body": ("fit_model", "read_model", "strict_loads"),
    "web.keys": ("APP", "PRINCIPAL"),
    "web.query": ("MAX_PAGE_ITEMS", "idempotency_key", "is_id", "page_items", "read_query"),
    "web.uploads": ("ReceivedForm", "receive_form"),
}

__all__ = [
    "APP",
    "MAX_PAGE_ITEMS",
    "PRINCIPAL",
    "VERSION",
    "ApiDescription",
    "ApiParameter",
    "App",
    "AttemptCancelledError",
    "Backoff",
    "BlockingApp",
    "BlockingBulk",
    "BlockingJob",
    "Bulk",
    "Check",
    "Clock",
    "ConfigError",
    "Database",
    "DeadLetter",
    "FenceLostError",
    "Field",
    "FileTooLargeError",
    "Hooks",
    "Instant",
    "Job",
    "JobConflictError",
    "JobNotFoundError",
    "JobReport",
    "JobState",
    "JobType",
    "JsonText",
    "Kind",
    "Lock",
    "LockLostError",
    "LockTimeoutError",
    "Locks",
    "Log",
    "NocohostError",
    "Node",
    "Page",
    "PayloadError",
    "PayloadTooLargeError",
    "PluginContractError",
    "PluginError",
    "Principal",
    "Queue",
    "QueueError",
    "Rate",
    "ReceivedForm",
    "Record",
    "RecordConflictError",
    "RecordNotFoundError",
    "RecordValuesError",
    "Resource",
    "ResourceError",
    "ResourceNotFoundError",
    "ResourceQueryError",
    "Resources",
    "Retry",
    "Route",
    "Schedule",
    "Schedules",
    "Service",
    "Signals",
    "Snooze",
    "Storage",
    "StorageError",
    "StorageUnavailableError",
    "StoreError",
    "StoredFile",
    "StoredFileNotFoundError",
    "Subscription",
    "Subscriptions",
    "UnknownKeyError",
    "UnservedError",
    "WorkerMode",
    "api_route",
    "fit_model",
    "hookimpl",
    "hookspec",
    "idempotency_key",
    "is_id",
    "page_items",
    "pass_app",
    "read_model",
    "read_query",
    "receive_form",
    "route",
    "send_file",
    "stream_changes",
    "strict_loads",
]


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        """Import ``name`` from its home on first use."""
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"nocohost.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'nocohost' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
