"""The records of a run put in order: what is known of each job, and what was done to each process and when."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from records import Evidence, Line, in_time

PULSE_SECONDS = 0.25
"""How often a process tells that it runs."""
LATE_SECONDS = 0.35
"""A pulse later than that was kept waiting by the machine."""
GAP_SECONDS = 1.0
"""A process whose pulse paused for so long did not run at all."""
DEATH_SECONDS = 1.0
"""How late the bench may notice that a process is dead; it looks twenty times a second, if its machine lets it."""
CHANGE_SECONDS = 0.5
"""What a node may take to give the place of a child that ended to another, and a child to give its first sign."""
ENDED = frozenset({"succeeded", "dead", "cancelled"})
EVER = float("inf")
Process = tuple[str, int]
"""Name of the node and number of the process."""
Span = tuple[float, float]


@dataclass(frozen=True)
class Attempt:
    """One attempt by the ledger's account; ``ended`` None when its process never told."""

    job: str
    fence: int
    process: Process
    node: str
    began: float
    wall: float
    ended: float | None = None
    outcome: str = ""
    child: int | None = None
    """The process it ran in, if that was not the node's own."""


@dataclass
class Story:
    """One job by all accounts."""

    job: str
    attempts: list[Attempt] = field(default_factory=list)
    hot: Line | None = None
    past: Line | None = None
    client: list[Line] = field(default_factory=list)

    @property
    def row(self) -> Line:
        """Return the job's row, wherever it is; empty when there is none."""
        return self.past or self.hot or {}

    @property
    def op(self) -> str:
        """Return the operation that made the job."""
        return str((self.row.get("payload") or {}).get("op", ""))

    def attempt(self, fence: int) -> Attempt | None:
        """Return the attempt under this fence number."""
        return next((attempt for attempt in self.attempts if attempt.fence == fence), None)

    def asked(self, act: str) -> list[Line]:
        """Return what clients asked of this job."""
        return [line for line in self.client if line["act"] == act and line["what"] == "invoke"]

    def granted(self, act: str) -> list[Line]:
        """Return what clients asked of this job and were not refused."""
        asked: dict[str, Line] = {}
        granted: list[Line] = []
        for line in self.client:
            if line["act"] != act:
                continue
            if line["what"] == "invoke":
                asked[line["who"]] = line
            elif line["what"] in {"ok", "info"} and line["who"] in asked:
                granted.append(asked.pop(line["who"]))
            else:
                asked.pop(line["who"], None)
        return [*granted, *asked.values()]

    def waiting(self, since: float, until: float) -> Span:
        """Return the span from which a client had the job retried, if it did: what was over by then waited for that."""
        return max([since, *(line["t"] for line in self.granted("retry") if since < line["t"] < until)]), until


class Case:
    """All stories of a run, and the harm that was done meanwhile."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.operations = in_time(
            line for line in (*evidence.client, *evidence.nemesis) if "act" in line and "what" in line
        )
        self.operations = [line for line in self.operations if line["what"] in {"invoke", "ok", "fail", "info"}]

    @cached_property
    def stories(self) -> Mapping[str, Story]:
        """Return the story of each job, by id."""
        stories: dict[str, Story] = {}

        def story(job: str) -> Story:
            return stories.setdefault(job, Story(job))

        for row in self.evidence.dump.jobs:
            story(row["id"]).hot = row
        for row in self.evidence.dump.history:
            story(row["id"]).past = row
        for attempt in self._attempts():
            story(attempt.job).attempts.append(attempt)
        made = {one.op: one.job for one in stories.values() if one.op}
        for line in self.operations:
            job = line.get("job") or made.get(line.get("op", ""))
            if job is not None:
                story(job).client.append(line)
        return stories

    @cached_property
    def by_op(self) -> Mapping[str, Sequence[Story]]:
        """Return the jobs in the database, by the operation that made them."""
        found: dict[str, list[Story]] = defaultdict(list)
        for story in self.stories.values():
            if story.row:
                found[story.op].append(story)
        return found

    def spans(self, begin: str, end: str, process: Process | None = None) -> list[Span]:
        """Return when an act of nemesis lasted: on one process, or wherever."""
        spans: list[Span] = []
        opened: dict[object, float] = {}
        for line in self.evidence.nemesis:
            here = (line.get("node"), line.get("pid"))
            if process is not None and here != process:
                continue
            if line["what"] == begin:
                opened[here] = line["t"]
            elif line["what"] == end and here in opened:
                spans.append((opened.pop(here), line["t"]))
        return spans + [(begun, EVER) for begun in opened.values()]

    @cached_property
    def outages(self) -> Sequence[Span]:
        """Return when the database was away: crashed, or, if it is SQLite, when a frozen node may hold its one lock."""
        on_sqlite = any(line.get("dialect") == "sqlite" for line in self.evidence.nemesis)
        return [*self.spans("crash", "restored"), *(self.spans("freeze", "thaw") if on_sqlite else ())]

    @cached_property
    def deaths(self) -> Mapping[Process, float]:
        """Return when each process that is dead was dead at the latest."""
        deaths: dict[Process, float] = {}
        for line in self.evidence.nemesis:
            if line["what"] in {"ended", "killed", "rolled"}:
                deaths.setdefault((line["node"], line["pid"]), line["t"])
        return deaths

    @cached_property
    def pauses(self) -> Mapping[Process, Sequence[Span]]:
        """Return when the pulse of each process came late."""
        last: dict[Process, float] = {}
        pauses: dict[Process, list[Span]] = defaultdict(list)
        for line in self.evidence.pulse:
            if "child" in line:
                continue
            process = (line["name"], line["pid"])
            if line["t"] - last.get(process, line["t"]) > LATE_SECONDS:
                pauses[process].append((last[process], line["t"]))
            last[process] = line["t"]
        return pauses

    @cached_property
    def last_signs(self) -> Mapping[Process, float]:
        """Return when each child was alive for certain for the last time."""
        return {(line["name"], line["child"]): line["t"] for line in self.evidence.pulse if "child" in line}

    def over(self, attempt: Attempt) -> float:
        """Return until when the attempt went on at least: its end, or the last that is known of its process alive.

        A node kills the children of a lease that it may lose, and lives on: an attempt in a child is over with that.
        """
        if attempt.ended is not None:
            return attempt.ended
        if attempt.child is not None:
            return self.last_signs.get((attempt.process[0], attempt.child), attempt.began)
        return self.deaths.get(attempt.process, EVER) - DEATH_SECONDS

    def froze(self, process: Process, span: Span) -> bool:
        """Tell whether the process did not run for a while within the span, by nemesis' or its machine's doing."""
        gaps = (gap for gap in self.pauses.get(process, ()) if gap[1] - gap[0] > GAP_SECONDS)
        return any(meet(span, one) for one in (*self.spans("freeze", "thaw", process), *gaps))

    @cached_property
    def waits(self) -> Sequence[tuple[Process, Span, float]]:
        """Return for how many seconds between two pulses the main thread of a process waited for a processor."""
        waits: list[tuple[Process, Span, float]] = []
        last: dict[Process, Line] = {}
        for line in self.evidence.pulse:
            if "child" in line or "waited" not in line:
                continue
            process = (line["name"], line["pid"])
            if (before := last.get(process)) is not None and line["waited"] > before["waited"]:
                waits.append((process, (before["t"], line["t"]), line["waited"] - before["waited"]))
            last[process] = line
        return waits

    def starved(self, span: Span) -> float:
        """Return how long a process waited for a processor within the span, at most: in whole pauses, or bit by bit."""
        bits: dict[Process, float] = defaultdict(float)
        for process, between, seconds in self.waits:
            if meet(between, span):
                bits[process] += seconds
        waited: dict[Process, float] = defaultdict(float)
        for process, pauses in self.pauses.items():
            frozen = self.spans("freeze", "thaw", process)
            for pause in pauses:
                if meet(pause, span) and not any(meet(pause, one) for one in frozen):
                    waited[process] += pause[1] - pause[0] - PULSE_SECONDS
        return max(*waited.values(), *bits.values(), 0.0, 0.0)

    @cached_property
    def well(self) -> Sequence[tuple[Process, Span]]:
        """Return when which node that works was up, and neither frozen nor cut off."""
        spans: list[tuple[Process, Span]] = []
        for line in self.evidence.nemesis:
            if line["what"] == "ready" and line["works"]:
                process = (line["node"], line["pid"])
                begun = line["t"]
                for trouble in sorted((*self.spans("freeze", "thaw", process), *self.spans("stall", "flow", process))):
                    spans.append((process, (begun, trouble[0])))
                    begun = trouble[1]
                spans.append((process, (begun, self.deaths.get(process, EVER))))
        return spans

    @cached_property
    def children(self) -> Mapping[Process, Sequence[Span]]:
        """Return when each node had places taken by children: from the first sign of one to the end of its attempt.

        A child may run others after that, each a span of its own; in between it takes nobody's place.
        """
        signs: dict[tuple[Process, int], Span] = {}
        for line in self.evidence.pulse:
            if "child" in line:
                child = ((line["name"], line["pid"]), line["child"])
                signs[child] = (signs[child][0] if child in signs else line["t"], line["t"])
        attempts = (attempt for story in self.stories.values() for attempt in story.attempts)
        found: dict[Process, list[Span]] = defaultdict(list)
        for attempt in sorted(attempts, key=lambda attempt: attempt.began):
            if attempt.child is not None:
                begun, _ = signs.pop((attempt.process, attempt.child), (attempt.began, 0.0))
                found[attempt.process].append((begun, self.over(attempt)))
        for (process, _), span in signs.items():
            found[process].append(span)
        return found

    @cached_property
    def roomy(self) -> Sequence[Span]:
        """Return when some node or other that works had a place for one more child; overlapping."""
        return [
            span
            for process, span in self.well
            for span in free_spans(span, self.children.get(process, ()), self.evidence.timing.places)
        ]

    def unattended(self, span: Span, story: Story) -> float:
        """Return for how much of the span there was no node that could have done the work.

        A job that was lost twice, or whose child died, must run in a child of its own, for which a node must have room.
        """
        must_run_apart = story.row.get("losses", 0) > 1 or story.row.get("crashes", 0) > 0
        spans = self.roomy if must_run_apart else [span for _, span in self.well]
        return uncovered(span, spans) if self.well else 0.0

    def full(self, span: Span, story: Story) -> float:
        """Return for how much of the span no node that works had a slot left for the key of the job."""
        taken: dict[Process, list[Span]] = defaultdict(list)
        for other in self.stories.values():
            if other.row.get("key") == story.row.get("key"):
                for attempt in other.attempts:
                    taken[attempt.process].append((attempt.began, self.over(attempt)))
        slots = self.evidence.timing.slots
        spans = [one for process, up in self.well for one in free_spans(up, taken.get(process, ()), slots)]
        return uncovered(span, spans) if self.well else 0.0

    def _attempts(self) -> Iterator[Attempt]:
        ends = {
            (line["job"], line["fence"], line["name"], line["pid"]): line
            for line in self.evidence.ledger
            if line["what"] == "end"
        }
        for line in self.evidence.ledger:
            if line["what"] == "begin":
                end = ends.get((line["job"], line["fence"], line["name"], line["pid"]), {})
                yield Attempt(
                    job=line["job"],
                    fence=line["fence"],
                    process=(line["name"], line["pid"]),
                    node=line["node"],
                    began=line["t"],
                    wall=line["w"],
                    ended=end.get("t"),
                    outcome=end.get("outcome", ""),
                    child=line.get("child"),
                )


def free_spans(span: Span, taken: Sequence[Span], places: int) -> Iterator[Span]:
    """Yield when within the span fewer than ``places`` were taken; one that is taken anew is not free meanwhile."""
    edges = [(begun - CHANGE_SECONDS, 1) for begun, _ in taken] + [(over + CHANGE_SECONDS, -1) for _, over in taken]
    count, begun = 0, -EVER
    for at, step in [*sorted(edges), (EVER, places)]:
        was_free = count < places
        count += step
        if was_free and count >= places and max(begun, span[0]) < min(at, span[1]):
            yield max(begun, span[0]), min(at, span[1])
        elif not was_free and count < places:
            begun = at


def uncovered(span: Span, spans: Sequence[Span]) -> float:
    """Return how much of the span none of the others covers."""
    missing, reached = 0.0, span[0]
    for begun, over in sorted(spans):
        if begun > span[1]:
            break
        missing += max(begun - reached, 0.0)
        reached = max(reached, over)
    return missing + max(span[1] - reached, 0.0)


def meet(one: Span, other: Span) -> bool:
    """Tell whether two spans of time overlap."""
    return one[0] <= other[1] and other[0] <= one[1]
