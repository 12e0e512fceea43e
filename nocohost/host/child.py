"""The composition root of a child: declarations, the entry points of its work orders, and connections of its own.

It opens no port, registers, migrates, schedules and claims nothing. Its log goes to its node.
"""

import faulthandler
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from nocohost.api.errors import PluginLoadError
from nocohost.api.job import Job
from nocohost.api.log import Log
from nocohost.api.mode import CHILD
from nocohost.api.room import WorkOrder
from nocohost.api.service import Service
from nocohost.child.channel import Channel, ChannelLog
from nocohost.child.guest import Guest, Opened, Ordered
from nocohost.child.limits import die_with
from nocohost.host.build import build_node
from nocohost.host.lifespans import enter_lifespans
from nocohost.node.clock import SystemClock
from nocohost.node.identity import NodeIdentity
from nocohost.node.mode import parse_mode
from nocohost.node.settings import Settings
from nocohost.plugins.activation import Activation, activate
from nocohost.plugins.catalogue import read_catalogue
from nocohost.queue.claim import HeldClaim
from nocohost.queue.payload import json_value, read_payload
from nocohost.store.hints import JOB


def run_child(descriptor: int, parent: int) -> None:
    """Be a child of the process ``parent``: take work orders from the socket ``descriptor``."""
    die_with(parent)
    faulthandler.enable(all_threads=False)  # the stack of a crash goes to stderr, whose last lines the node keeps
    channel = Channel(socket.socket(fileno=descriptor))
    hello = channel.receive().fields
    sys.path[:] = hello["path"]
    settings = Settings.model_validate(hello["settings"])
    log = ChannelLog(channel, settings.log.level)
    _route_standard_logging(log, "warning" if settings.log.level == "info" else settings.log.level)
    stage = ChildStage(settings, log, NodeIdentity(hello["node_id"], settings.node_name))
    if hello["key"] is not None:
        stage.activate(hello["key"])
    channel.send("ready")
    Guest(channel, stage).serve(channel.receive())


class ChildStage:
    """Implements ``nocohost.child.guest.Stage``."""

    def __init__(self, settings: Settings, log: Log, node: NodeIdentity) -> None:
        self._parts = build_node(settings, read_catalogue(), CHILD, clock=SystemClock(), log=log, identity=node)
        self._hooks = self._parts.declarations.node_hooks(self._parts.log)
        self._parts.app.offer(self._hooks)
        self._activations: dict[str, Activation] = {}
        self._entered: set[str] = set()
        self._lifespans = AsyncExitStack()

    def activate(self, key: str) -> Activation:
        """Import the entry points of ``key``, once."""
        if key not in self._activations:
            parts = self._parts
            self._activations[key] = activate(
                parse_mode(key, declared=parts.catalogue.declared_keys).mode,
                parts.catalogue,
                parts.declarations,
                parts.app,
                import_seconds=parts.settings.import_seconds,
                log=parts.log,
                hooks=self._hooks,
            )
        return self._activations[key]

    def load(self, key: str) -> Service:
        """Return the service of ``key``; raises ``PluginLoadError`` when it is quarantined here."""
        return _service(self.activate(key), key)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        """Open the app; leave the lifespans that were entered, and close it, at the end of the block."""
        parts = self._parts
        queue = parts.make_queue()
        queue.on_enqueued = lambda key, jobs: parts.hints.send(JOB, key)
        queue.reports.on_changed = lambda key: parts.hints.send(JOB, key)
        parts.open_app(queue)
        async with self._lifespans:
            self._lifespans.push_async_callback(parts.close)
            await parts.hints.start()
            yield Opened(parts.app, parts.database)

    async def enter(self, key: str) -> None:
        """Enter the key's lifespans, once; raises ``PluginLoadError`` when one of its service fails."""
        if key not in self._entered:
            _service(await enter_lifespans(self._parts, self.activate(key), self._lifespans), key)
            self._entered.add(key)

    def ordered(self, order: WorkOrder) -> Ordered:
        """Return the job of a work order, whose claim it writes under; raises ``PayloadError``."""
        claim = HeldClaim(self._parts.database, order)
        job_type = self._parts.declarations.job_type(order.key)
        job = Job(
            order.id,
            order.key,
            read_payload(order.key, order.payload, job_type.payload if job_type else None),
            attempt=order.attempt,
            fence=order.fence,
            enqueued_at=order.enqueued_at,
            group=order.group,
            claim=claim,
        )
        return Ordered(job, claim.request_cancel)

    def checked(self, value: Any) -> Any:
        """Return what a handler returned as JSON gives it back; raises ``PayloadError``."""
        return json_value("what the handler returned", value)


class _ToLog(logging.Handler):
    """Hands on what libraries and plugins write with ``logging``."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        say = getattr(self._log, level if level in ("debug", "info", "warning") else "error")
        trace = {} if record.exc_info is None else {"exception": logging.Formatter().formatException(record.exc_info)}
        say(record.getMessage(), logger=record.name, **trace)


def _route_standard_logging(log: Log, level: str) -> None:
    root = logging.getLogger()
    root.addHandler(_ToLog(log))
    root.setLevel(level.upper())


def _service(activation: Activation, key: str) -> Service:
    service = activation.services.get(key)
    if service is None:
        raise PluginLoadError(activation.refused_keys.get(key, "it is not installed here"))
    return service
