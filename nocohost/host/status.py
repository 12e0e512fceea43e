"""What a node knows of itself: where it stands in its life, and whether it is healthy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nocohost.api.check import Check
from nocohost.api.errors import NocohostError, PluginError
from nocohost.web.health import CheckResult, HealthReport, Which

PROBE_SECONDS = 5.0


class NodeState(StrEnum):
    """The life of a node: ``starting -> serving -> draining -> stopped``; others call a silent one ``lost``."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass
class NodeStatus:
    """Where the node stands; the life cycle writes it, health probes read it. Satisfies ``web.health.Health``."""

    state: NodeState = NodeState.STARTING
    step: str = "reading what is installed"
    """What the node is doing while it starts."""
    serves: Sequence[str] = ()
    """``requests`` and the service keys that this node really serves."""
    quarantined: Sequence[str] = ()
    """One line for each entry point at fault."""
    checks: Sequence[Check] = ()
    """The checks of plugins."""
    silence: Callable[[], str | None] = lambda: None
    """Says what is wrong when the event loop has been silent for too long."""
    lapse: Callable[[], str | None] = lambda: None
    """Says what is wrong when no heartbeat has arrived for too long."""
    is_quiet: Callable[[], bool] = lambda: False
    """Tells whether somebody made the node quiet: it claims nothing, and is ready for requests all the same."""
    unserved: Callable[[], Sequence[str]] = lambda: ()
    """Returns one line for each key whose work no live node serves."""
    ping: Callable[[], Awaitable[None]] | None = None
    """Asks the database; raises when it does not answer."""

    async def report(self, which: Which) -> HealthReport:
        """Return whether the node is live or ready. ``livez`` asks no database."""
        silence = self.silence()
        loop = CheckResult("loop", silence is None, silence or "turns")
        if which == "livez":
            return HealthReport(loop.ok, [loop])
        life = CheckResult("state", self.state is NodeState.SERVING, self._sentence())
        lapse = self.lapse()
        results = [life, loop, CheckResult("lease", lapse is None, lapse or "held")]
        if self.state is not NodeState.STARTING:
            results += await asyncio.gather(self._database(), *(self._plugin(check) for check in self.checks))
            results.append(self._served())
        critical = {check.name for check in self.checks if check.critical} | {
            "state",
            "loop",
            "lease",
            "database",
            "serves",
        }
        results += [CheckResult("quarantined", False, line) for line in self.quarantined]
        results += [CheckResult("unserved", False, line) for line in self.unserved()]
        return HealthReport(all(result.ok for result in results if result.name in critical), results)

    def _sentence(self) -> str:
        if self.state is NodeState.STARTING:
            return f"starting: {self.step}"
        is_quiet = self.state is NodeState.SERVING and self.is_quiet()
        return "quiet: claims no jobs until it is resumed" if is_quiet else self.state.value

    def _served(self) -> CheckResult:
        return CheckResult("serves", bool(self.serves), ", ".join(self.serves) or "nothing that its mode asks for")

    async def _database(self) -> CheckResult:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if self.ping is not None:
                    await self.ping()
        except (NocohostError, TimeoutError) as error:
            return CheckResult("database", False, str(error) or f"no answer within {PROBE_SECONDS:g} s")
        return CheckResult("database", True, "answers")

    async def _plugin(self, check: Check) -> CheckResult:
        probe = asyncio.create_task(_ask(check))
        await asyncio.wait([probe], timeout=PROBE_SECONDS)
        if not probe.done():
            probe.cancel()
            return CheckResult(check.name, False, f"no answer within {PROBE_SECONDS:g} s")
        if probe.cancelled():
            return CheckResult(check.name, False, "was cancelled")
        error = probe.exception()  # raising is how a check says what is wrong
        if error is not None:
            said = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            return CheckResult(check.name, False, said)
        return CheckResult(check.name, True, probe.result() or "")


async def _ask(check: Check) -> str | None:
    """Return what the check says, within a task: raising is how it says that something is wrong."""
    try:
        said: object = await check.probe()
    except (SystemExit, KeyboardInterrupt) as error:  # through a task it would end the node
        raise PluginError(f"{type(error).__name__}: {error}") from error
    if not (said is None or isinstance(said, str)):
        raise TypeError(f"the check returned {type(said).__name__}, not text or None")
    return said
