"""What must be true of the nodes: who may run what at the same time, how soon others take over, how they leave."""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from case import EVER, GAP_SECONDS, Attempt, Case, Process, Span, Story, meet
from job_rules import Finding
from records import Line

OUTAGE_SECONDS = 3.0
"""What the nodes get after an outage of the database, to connect again and beat."""
LEAVING_SECONDS = 5.0
"""What a drained node gets past its deadline, to close."""
ALWAYS = (-EVER, EVER)
PLANNED = frozenset({"job.raised"})
"""Log events whose traceback belongs to a handler that failed."""
LOST_CONNECTION = ("StoreUnavailableError", "TransactionExpiredError")


def no_two_run_one_job(case: Case) -> Iterator[Finding]:
    """I6: two attempts of one job overlap only when the node of the earlier one was frozen, and could not know."""
    for story in case.stories.values():
        for earlier, later in pairwise(sorted(story.attempts, key=lambda attempt: attempt.fence)):
            if later.began >= case.over(earlier):
                continue
            # It may have been claimed before a freeze and begin after it, when the later one is over already.
            if not case.froze(earlier.process, (min(earlier.began, later.began), max(earlier.began, later.began))):
                names = f"{earlier.process[0]} and {later.process[0]}"
                yield Finding(
                    "I6 overlap",
                    f"{story.op} ran under the fences {earlier.fence} and {later.fence} at once, on {names}, both well",
                    [story.job],
                )


def recoveries(case: Case) -> Iterator[tuple[Attempt, Attempt, float, float]]:
    """Yield for each job that was killed: its attempt, the next one, the seconds between, and the seconds allowed."""
    for line in case.evidence.nemesis:
        if line["what"] != "kill":
            continue
        for story in case.stories.values():
            for attempt in story.attempts:
                if attempt.process != (line["node"], line["pid"]) or attempt.ended or attempt.began > line["t"]:
                    continue
                if attempt.child is not None and case.over(attempt) < line["t"] - GAP_SECONDS:
                    continue  # its child had been killed long before
                after = story.attempt(attempt.fence + 1)
                # None: it was cancelled, or a claim in between never began.
                if after is None:
                    continue
                span = story.waiting(line["t"], after.began)
                if not disturbed(case, after, span):
                    yield attempt, after, span[1] - span[0], allowance(case, span, story)


def allowance(case: Case, span: Span, story: Story) -> float:
    """Return how long a recovery may take: what is promised, from when there is a node to do it, a database, a CPU."""
    allowed = case.evidence.timing.recovery_seconds + case.starved(span) + case.unattended(span, story)
    return allowed + sum(outage[1] - outage[0] + OUTAGE_SECONDS for outage in case.outages if meet(span, outage))


def disturbed(case: Case, attempt: Attempt, span: Span) -> bool:
    """Tell whether the node that took over had troubles of its own."""
    return troubled(case, attempt.process, span)


def troubled(case: Case, process: Process, span: Span) -> bool:
    """Tell whether a node was frozen or cut off within the span, or answers to it were lost."""
    troubles = [("freeze", "thaw"), ("stall", "flow"), ("lose", "lost")]
    spans = [one for begin, end in troubles for one in case.spans(begin, end, process)]
    return any(meet(span, one) for one in spans)


def the_dead_are_replaced_in_time(case: Case) -> Iterator[Finding]:
    """I8: the jobs of a killed node run elsewhere within the time that is promised."""
    for attempt, after, seconds, allowed in recoveries(case):
        if seconds > allowed:
            sentence = f"killed with {attempt.process[0]}, began again on {after.process[0]} after {seconds:.1f} s"
            yield Finding("I8 recovery", f"{sentence}; {allowed:.1f} s are allowed", [attempt.job])


def places_are_kept(case: Case) -> Iterator[Finding]:
    """P5: a node runs no more attempts in children at a time than it has places for."""
    inside: dict[Process, list[tuple[float, int, str]]] = defaultdict(list)
    for story in case.stories.values():
        for attempt in story.attempts:
            if attempt.child is not None:
                edges = (attempt.began, 1, story.job), (case.over(attempt), -1, story.job)
                inside[attempt.process] += edges
    for (name, _), edges in inside.items():
        count = 0
        for _, step, job in sorted(edges):
            count += step
            if step > 0 and count > case.evidence.timing.places:
                yield Finding("P5 places", f"{name} ran {count} attempts in children at once", [job])


def only_the_lost_lose_jobs(case: Case) -> Iterator[Finding]:
    """P8: a job is taken from a node only if that is dead, was held up, or has been declared lost."""
    processes = {line["node"]: (line["name"], line["pid"]) for line in case.evidence.ledger if line["what"] == "begin"}
    entries = [entry for lines in case.evidence.logs.values() for text in lines if (entry := logged(text))]
    declared = {entry.get("lost") for entry in entries if entry.get("event") == "node.lost"}
    for entry in entries:
        process = processes.get(entry.get("lost", ""))
        if entry.get("event") != "job.orphan_freed" or process is None or entry["lost"] in declared:
            continue
        if process not in case.deaths and not case.froze(process, ALWAYS) and not troubled(case, process, ALWAYS):
            yield Finding("P8 loss", f"a job was taken from {process[0]}, which was well", [entry["job"]])


def sweeps_keep_to_their_keys(case: Case) -> Iterator[Finding]:
    """P8: a job whose last server died is left alone by nodes that do not serve its key, and shows as an orphan."""
    for line in case.evidence.nemesis:
        if line["what"] == "stranded" and (line["state"] != "running" or not line["orphan"]):
            seen = f"{line['state']}{'' if line['orphan'] else ', not as an orphan'}"
            yield Finding("P8 scope", f"the job of a key that nobody serves showed as {seen}", [line["job"]])


def drains_end_well(case: Case) -> Iterator[Finding]:
    """P6: a drained node exits 0 in time, and what it hands back runs at once."""
    timing = case.evidence.timing
    for line in case.evidence.nemesis:
        if line["what"] != "rolled":
            continue
        process = (line["node"], line["pid"])
        begun = next(
            one["t"] for one in case.evidence.nemesis if one["what"] == "roll" and one.get("pid") == line["pid"]
        )
        span = (begun - timing.lease_seconds, line["t"] + timing.lease_seconds)
        if any(meet(span, outage) for outage in case.outages) or troubled(case, process, span):
            continue
        seconds, allowed = line["t"] - begun, timing.drain_seconds + LEAVING_SECONDS + case.starved(span)
        if line["exit"] != 0 or seconds > allowed:
            yield Finding(
                "P6 drain", f"{line['node']} left after {seconds:.1f} s ({allowed:.1f} s allowed) with {line['exit']}"
            )
        if line["exit"] == 0:
            yield from handed_back(case, process, begun)


def handed_back(case: Case, process: tuple[str, int], begun: float) -> Iterator[Finding]:
    """Find jobs that a drain interrupted and that then had to wait for the lease."""
    for story in case.stories.values():
        for attempt in story.attempts:
            after = story.attempt(attempt.fence + 1)
            if attempt.process != process or attempt.outcome != "interrupted" or after is None or attempt.ended is None:
                continue
            span = story.waiting(attempt.ended, after.began)
            unserved = max(case.unattended(span, story), case.full(span, story))
            allowed = case.evidence.timing.lease_seconds + case.starved(span) + unserved
            is_away = any(meet(span, outage) for outage in case.outages)
            may_wait = is_away or disturbed(case, after, span)
            if attempt.ended > begun and span[1] - span[0] > allowed and not may_wait:
                yield Finding(
                    "P6 drain", f"{story.op} was handed back and began {span[1] - span[0]:.1f} s later", [story.job]
                )


def logs_are_clean(case: Case) -> Iterator[Finding]:
    """I15: no traceback but those of handlers that failed."""
    for name, lines in case.evidence.logs.items():
        for number, text in enumerate(lines, 1):
            if sentence := unhandled(text):
                yield Finding("I15 log", f"{name}:{number}: {sentence}")


def logged(text: str) -> Line:
    """Return the fields of a line of a log; none when it is no JSON, or cut short by a kill."""
    try:
        return json.loads(text) if text.startswith("{") else {}
    except ValueError:
        return {}


def unhandled(text: str) -> str:
    """Return what is wrong with a line of a log; empty when nothing is."""
    if not text.startswith("{"):
        is_trace = text.startswith("Traceback ") or "never retrieved" in text or "never awaited" in text
        return text[:200] if is_trace else ""
    entry = logged(text)
    if "exception" not in entry or entry.get("event") in PLANNED:
        return ""
    return f"{entry.get('event')}: {str(entry['exception'])[-300:]}"


NODE_RULES = (
    no_two_run_one_job,
    the_dead_are_replaced_in_time,
    places_are_kept,
    only_the_lost_lose_jobs,
    sweeps_keep_to_their_keys,
    drains_end_well,
    logs_are_clean,
)
