"""``/livez``, ``/readyz`` and ``/healthz``: what probes ask. The host knows the answers, this says them over HTTP."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from aiohttp import hdrs, web

from nocohost.web.hosts import HostPolicy

Which = Literal["livez", "readyz"]
FALSE = frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check; a failing one that is not critical leaves the whole ``ok``."""

    name: str
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Whether the node is live or ready, and each check that says so."""

    ok: bool
    checks: Sequence[CheckResult] = ()


class Health(Protocol):
    """What the host tells of a node's health."""

    async def report(self, which: Which) -> HealthReport:
        """Return the report of ``livez`` (the loop turns; no database is asked) or of ``readyz``."""


class HealthProbes:
    """Answers probes. Probes that come while a report is made share it, so that they cannot add up to load."""

    def __init__(self, health: Health, hosts: HostPolicy) -> None:
        self._health = health
        self._hosts = hosts
        self._reports: dict[Which, asyncio.Task[HealthReport]] = {}

    async def livez(self, request: web.Request) -> web.Response:
        """Answer 200 while the event loop turns and nothing fatal happened, else 503."""
        return await self._answer(request, "livez")

    async def readyz(self, request: web.Request) -> web.Response:
        """Answer 200 while the node serves, else 503."""
        return await self._answer(request, "readyz")

    async def _answer(self, request: web.Request, which: Which) -> web.Response:
        report = await asyncio.shield(self._report(which))
        body: dict[str, object] = {"status": _word(report.ok)}
        # Probes may come with any host, but only those that could read other routes too are told the details.
        if request.query.get("verbose", "0") not in FALSE and self._hosts.allows(request.headers.get(hdrs.HOST)):
            body["checks"] = [
                {"name": check.name, "status": _word(check.ok), "message": check.message} for check in report.checks
            ]
        return web.json_response(body, status=200 if report.ok else 503, headers={hdrs.CACHE_CONTROL: "no-store"})

    def _report(self, which: Which) -> "asyncio.Task[HealthReport]":
        task = self._reports.get(which)
        if task is None or task.done():
            task = asyncio.create_task(self._health.report(which), name=f"health report {which}")
            self._reports[which] = task
        return task


def _word(ok: bool) -> str:
    return "ok" if ok else "failing"
