"""The verdict on a run: ``ok``, ``bad``, or ``unknown`` when too little has happened to tell; with its reasons."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from case import Attempt, Case, Story
from job_rules import JOB_RULES, Finding
from node_rules import NODE_RULES, recoveries
from records import Evidence, Line

Floors = Mapping[str, int]
"""How much of what must have happened, by the names of ``count``."""
SHOWN = 3
"""How many stories of each rule are told, shortest first."""
ACTS = ("kill", "freeze", "stall", "roll", "crash", "terminate", "lose", "cut", "stranded")
TROUBLE_SECONDS = 6.0


@dataclass(frozen=True)
class Verdict:
    """What the checker found."""

    word: str
    findings: Sequence[Finding]
    counts: Mapping[str, float]
    missed: Sequence[str]
    """Floors that the run did not reach."""
    case: Case

    def text(self, title: str) -> str:
        """Return the verdict for people: counts, then each broken promise with the shortest histories that show it."""
        counts = ", ".join(f"{name} {number:g}" for name, number in self.counts.items())
        lines = [f"{self.word}: {title}", counts, *(f"too little: {floor}" for floor in self.missed)]
        by_rule: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            by_rule[finding.rule].append(finding)
        for rule, findings in sorted(by_rule.items()):
            lines.append(f"\n{rule}: {len(findings)} findings")
            for finding in sorted(findings, key=self._length)[:SHOWN]:
                lines.append(f"- {finding.sentence}")
                for job in finding.jobs[:SHOWN]:
                    lines += [f"    {line}" for line in tell(self.case, job)]
        return "\n".join(lines) + "\n"

    def _length(self, finding: Finding) -> int:
        stories = (self.case.stories.get(job, Story(job)) for job in finding.jobs)
        return sum(len(story.attempts) + len(story.client) for story in stories)


def judge(evidence: Evidence, floors: Floors) -> Verdict:
    """Apply every rule, count what happened, and judge; pure."""
    case = Case(evidence)
    findings = [finding for rule in (*JOB_RULES, *NODE_RULES) for finding in rule(case)]
    counts = count(case)
    missed = [
        f"{name} {counts.get(name, 0):g} of {least}" for name, least in floors.items() if counts.get(name, 0) < least
    ]
    return Verdict("bad" if findings else "unknown" if missed else "ok", findings, counts, missed, case)


def count(case: Case) -> dict[str, float]:
    """Count what the run has exercised."""
    stories = [story for story in case.stories.values() if story.row]
    acts = Counter(line["what"] for line in case.evidence.nemesis)
    results = Counter(line["what"] for line in case.operations)
    changed = Counter(line["act"] for line in case.operations if line["what"] == "fail" and line["act"] == "order")
    taken = [pair for story in stories for pair in takeovers(case, story)]
    delays = [seconds for _, _, seconds, _ in recoveries(case)]
    counts: dict[str, float] = {
        "jobs": len(stories),
        "attempts": sum(len(story.attempts) for story in stories),
        "rerun": sum(len(story.attempts) > 1 for story in stories),
        "accepted": results["ok"],
        "unsure": results["info"],
        "rolled_back": changed["order"],
        **{
            state: sum(story.row["state"] == state for story in stories) for state in ("succeeded", "dead", "cancelled")
        },
        "ticks": len(case.evidence.dump.ticks),
        "takeovers": len(taken),
        "late_writes": sum(line.get("late", 0) for line in case.evidence.nemesis),
        "lost_answers": sum(line.get("lost", 0) for line in case.evidence.nemesis),
        "late_ends": sum(earlier.ended is not None for earlier, _ in taken),
        "refusals": sum('"job.fenced"' in line for lines in case.evidence.logs.values() for line in lines),
        **{act: acts[act] for act in ACTS if acts[act]},
        "fenced_nodes": sum(line["what"] == "ended" and line["exit"] == 70 for line in case.evidence.nemesis),
    }
    if delays:
        counts |= {"recoveries": len(delays), "p50_s": round(median(delays), 2), "max_s": round(max(delays), 2)}
    return counts


def takeovers(case: Case, story: Story) -> Iterator[tuple[Attempt, Attempt]]:
    """Yield the pairs of attempts of which the later began while the earlier was still under way."""
    ordered = sorted(story.attempts, key=lambda attempt: attempt.fence)
    for earlier, later in pairwise(ordered):
        if later.began < case.over(earlier):
            yield earlier, later


def tell(case: Case, job: str) -> list[str]:
    """Return the history of one job, as all records together tell it."""
    story = case.stories.get(job, Story(job))
    processes = {attempt.process for attempt in story.attempts}
    lines: list[Line] = [*story.client, *(line for line in case.evidence.ledger if line.get("job") == job)]
    if lines:
        first, last = min(line["t"] for line in lines) - 1.0, max(line["t"] for line in lines) + TROUBLE_SECONDS
        harm = (line for line in case.evidence.nemesis if first < line["t"] < last and "act" not in line)
        lines += [line for line in harm if "node" not in line or (line["node"], line.get("pid")) in processes]
    start = case.evidence.nemesis[0]["t"] if case.evidence.nemesis else 0.0
    told = [f"{line['t'] - start:8.3f} {describe(line)}" for line in sorted(lines, key=lambda line: line["t"])]
    return [*told, f"   at end {'; '.join(map(str, filter(None, (story.hot, story.past)))) or 'no row'}"]


def describe(line: Line) -> str:
    """Return one line of a record for people."""
    where = f"{line.get('name') or line.get('node') or line.get('who')}/{line.get('pid', '')}".rstrip("/")
    shown = ("act", "fence", "attempt", "outcome", "state", "orphan", "exit", "status", "why")
    return " ".join([where, line["what"], *(f"{name}={line[name]}" for name in shown if line.get(name) is not None)])
