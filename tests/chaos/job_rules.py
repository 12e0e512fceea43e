"""What must be true of every job at the end, whatever happened on the way. Rules are pure and say what is wrong."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from case import ENDED, Attempt, Case, Story

from nocohost.queue.loss import LOSSES

EARLY_SECONDS = 0.002
BRITTLE_ATTEMPTS = 3
TICK = "tick"
"""The operation of every job that the schedule makes, one a second."""
TICK_SECONDS = 1.0
FRESH_SECONDS = 5.0
"""So old a job of the schedule may be at the end without being over: there is always another."""


@dataclass(frozen=True)
class Finding:
    """One broken promise: the rule, what is wrong, and the jobs that show it."""

    rule: str
    sentence: str
    jobs: Sequence[str] = ()


def nothing_accepted_is_lost(case: Case) -> Iterator[Finding]:
    """I1: every job that a client was told of is in the database."""
    for line in case.operations:
        if line["what"] == "ok" and line["act"] in {"enqueue", "order"} and not case.stories[line["job"]].row:
            yield Finding("I1 lost", f"{line['op']} was accepted as job {line['job']}, which is gone", [line["job"]])


def nobody_makes_jobs(case: Case) -> Iterator[Finding]:
    """I2: every job was asked for by somebody who was not told that it failed."""
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for line in case.operations:
        if line["act"] in {"enqueue", "order"}:
            told[line["op"]][line["what"]] += 1
    for op, stories in case.by_op.items():
        if op == TICK:
            continue
        ids = [story.job for story in stories]
        parent = op.removesuffix("/child")
        if parent != op:
            if not any(story.attempts for story in case.by_op.get(parent, ())):
                yield Finding("I2 phantom", f"{op} was made by no attempt", ids)
        elif op not in told:
            yield Finding("I2 phantom", f"nobody asked for {op or 'a job without a name'}", ids)
        elif told[op]["fail"] == told[op]["invoke"]:
            yield Finding("I2 phantom", f"{op} exists, although its client was told that it failed", ids)


def one_request_makes_one_job(case: Case) -> Iterator[Finding]:
    """I3: one job for each operation, one id for each idempotency key, and one payload."""
    for op, stories in case.by_op.items():
        if len(stories) > 1 and op != TICK:
            yield Finding("I3 duplicate", f"{op} was made {len(stories)} times", [story.job for story in stories])
    ids: dict[str, set[str]] = defaultdict(set)
    payloads: dict[str, list[object]] = defaultdict(list)
    for line in case.operations:
        if line["what"] == "ok" and line.get("idempotency_key"):
            ids[line["idempotency_key"]].add(line["job"])
            if line.get("payload") is not None and line["payload"] not in payloads[line["idempotency_key"]]:
                payloads[line["idempotency_key"]].append(line["payload"])
    for key, found in ids.items():
        if len(found) > 1:
            yield Finding("I3 duplicate", f"clients were told {len(found)} ids for the one key {key}", sorted(found))
    for key, given in payloads.items():
        if len(given) > 1:
            yield Finding("I3 duplicate", f"{key} was accepted with {len(given)} payloads", sorted(ids[key]))


def each_job_ends_once(case: Case) -> Iterator[Finding]:
    """I4: one row, one end; a success is that of the last claim, whose handler came to its end."""
    for story in case.stories.values():
        if story.hot and story.past:
            yield Finding("I4 ending", f"{story.op} is over and not over", [story.job])
        row = story.past
        if row is None:
            continue
        sentence = wrong_ending(case, story)
        if sentence:
            yield Finding("I4 ending", f"{story.op} {sentence}", [story.job])


def wrong_ending(case: Case, story: Story) -> str:
    """Say what is wrong with the end of a job; empty when nothing is.

    One that was lost with as many nodes as there may be is a dead letter, wherever its last handler was by then.
    """
    row = story.row
    last = story.attempt(row["fence"])
    if row["state"] == "succeeded":
        if last is None or last.outcome != "done":
            return f"succeeded under fence {row['fence']}, whose handler {did(last)}"
        if (row.get("value") or {}).get("fence") != row["fence"]:
            return f"succeeded under fence {row['fence']} with the value of another attempt: {row.get('value')}"
        if row.get("node_id") != last.node:
            return f"succeeded by a node that did not run fence {row['fence']}"
    elif row["state"] == "dead" and row.get("losses", 0) < LOSSES and not (last and last.outcome in {"dead", "failed"}):
        return f"is a dead letter under fence {row['fence']}, whose handler {did(last)}"
    elif row["state"] == "cancelled" and not story.asked("cancel"):
        return "was cancelled, which nobody asked for"
    elif row["state"] not in ENDED:
        return f"is over in the state {row['state']}"
    return ""


def did(attempt: object) -> str:
    """Say what became of a handler."""
    outcome = getattr(attempt, "outcome", None)
    return "never began" if outcome is None else f"ended as {outcome!r}" if outcome else "never came to its end"


def what_is_over_stays_over(case: Case) -> Iterator[Finding]:
    """I4: a job once seen at its end stays there, and no attempt of it begins, unless somebody had it retried."""
    for story in case.stories.values():
        seen = next((line for line in story.client if line["what"] == "ok" and line.get("state") in ENDED), None)
        if seen is None or (seen["state"] != "succeeded" and story.asked("retry")):
            continue
        if story.row and story.row["state"] != seen["state"]:
            yield Finding(
                "I4 ending", f"{story.op} was {seen['state']} once, and {story.row['state']} later", [story.job]
            )
        late = [attempt for attempt in story.attempts if attempt.began > seen["t"]]
        if late := [attempt for attempt in late if not came_too_late(case, story, attempt)]:
            yield Finding(
                "I4 ending", f"{story.op} ran under fence {late[0].fence} after it was {seen['state']}", [story.job]
            )


def came_too_late(case: Case, story: Story, attempt: Attempt) -> bool:
    """Tell whether it was claimed before a freeze and began after it, when a later one was over already."""
    return attempt.fence < story.row.get("fence", 0) and case.froze(attempt.process, (0.0, attempt.began))


def fences_rise(case: Case) -> Iterator[Finding]:
    """I5: a fence number is given once, the row has the highest, and committed effects come in their order."""
    for story in case.stories.values():
        fences = [attempt.fence for attempt in story.attempts]
        if len(set(fences)) < len(fences):
            yield Finding("I5 fence", f"{story.op} was begun twice under one fence: {fences}", [story.job])
        if story.row and fences and max(fences) > story.row["fence"]:
            yield Finding(
                "I5 fence", f"{story.op} ran under fence {max(fences)}, its row says {story.row['fence']}", [story.job]
            )
    effects: dict[str, list[int]] = defaultdict(list)
    for effect in case.evidence.dump.effects:
        effects[effect["job"]].append(effect["fence"])
    for job, given in effects.items():
        if len(given) > 1:
            yield Finding("I5 fence", f"the fenced effect of {job} was committed {len(given)} times: {given}", [job])


def charges_add_up(case: Case) -> Iterator[Finding]:
    """I7: only failures are charged: no drain, no snooze, no loss of a node; and the limit is kept."""
    for story in case.stories.values():
        failed = sum(attempt.outcome == "failed" for attempt in story.attempts)
        charged = story.row.get("attempts", 0)
        if charged > failed:
            yield Finding(
                "I7 charge", f"{story.op} was charged {charged} attempts and failed {failed} times", [story.job]
            )
        is_brittle = story.row.get("key") == "chaos:brittle" and story.row.get("state") == "dead"
        if is_brittle and charged != BRITTLE_ATTEMPTS:
            yield Finding(
                "I7 charge", f"{story.op} is dead after {charged} of {BRITTLE_ATTEMPTS} attempts", [story.job]
            )
        if story.row and len(story.attempts) > story.row["fence"]:
            yield Finding("I7 charge", f"{story.op} has fewer claims than attempts", [story.job])


def nothing_starts_early(case: Case) -> Iterator[Finding]:
    """P8: no job begins before its ``run_at``, whatever the clock of its node says; a retry by hand makes it due."""
    for line in case.operations:
        if line["what"] != "invoke" or not line.get("run_at"):
            continue
        due = datetime.fromisoformat(line["run_at"]).timestamp()
        for story in case.by_op.get(line["op"], ()):
            first = min((attempt.wall for attempt in story.attempts), default=due)
            allowed = min([due, *(asked["w"] for asked in story.granted("retry"))])
            if first < allowed - EARLY_SECONDS:
                yield Finding("P8 early", f"{story.op} began {due - first:.3f} s before its time", [story.job])


def each_tick_fires_once(case: Case) -> Iterator[Finding]:
    """I10: every tick of the schedule from the first to the last has one job, and every such job has a tick."""
    ticks = case.evidence.dump.ticks
    made = {story.job for story in case.by_op.get(TICK, ())}
    for job in sorted(made ^ {tick["job_id"] for tick in ticks}):
        yield Finding(
            "I10 tick", f"a job without a tick: {job}" if job in made else f"a tick without its job {job}", [job]
        )
    instants = sorted(tick["tick_at"] for tick in ticks)
    for earlier, later in pairwise(instants):
        if later - earlier != TICK_SECONDS:
            yield Finding("I10 tick", f"the tick after {earlier:.0f} is that of {later:.0f}")


def transactions_are_whole(case: Case) -> Iterator[Finding]:
    """I12: an order and its job are both there or neither, a relayed effect and its child, too."""
    dump = case.evidence.dump
    orders = set(dump.orders)
    queued = {
        op: story.job for op, stories in case.by_op.items() for story in stories if story.row["key"] == "chaos:order"
    }
    for op in sorted(orders ^ queued.keys()):
        have, lack = ("an order", "job") if op in orders else ("a job", "order")
        yield Finding("I12 transaction", f"{op} has {have} and no {lack}", [queued[op]] if op in queued else [])
    for line in case.evidence.ledger:
        if line["what"] == "missing":
            yield Finding("I12 transaction", f"{line['op']} ran before its transaction could be seen", [line["job"]])
    children = {story.job: op for op, stories in case.by_op.items() if op.endswith("/child") for story in stories}
    told = {effect["child"] for effect in dump.effects}
    for child in sorted(told ^ children.keys()):
        yield Finding("I12 transaction", f"the child {child} and its effect do not belong together", [child])
    relayed = {effect["job"] for effect in dump.effects}
    for story in case.stories.values():
        if story.row.get("key") == "chaos:relay" and story.row.get("state") == "succeeded" and story.job not in relayed:
            yield Finding("I12 transaction", f"{story.op} succeeded without its effect", [story.job])


def everything_comes_to_its_end(case: Case) -> Iterator[Finding]:
    """I14: after healing nothing is left over."""
    for story in case.stories.values():
        is_fresh = (
            story.op == TICK and (story.hot or {}).get("enqueued_at", 0.0) > case.evidence.dump.at - FRESH_SECONDS
        )
        if story.hot and not story.past and not is_fresh:
            held = f"held by {story.hot.get('node_id')}" if story.hot["state"] == "running" else "not claimed"
            yield Finding(
                "I14 stuck", f"{story.op} ({story.hot['key']}) is still {story.hot['state']}, {held}", [story.job]
            )


JOB_RULES = (
    nothing_accepted_is_lost,
    nobody_makes_jobs,
    one_request_makes_one_job,
    each_job_ends_once,
    what_is_over_stays_over,
    fences_rise,
    charges_add_up,
    nothing_starts_early,
    each_tick_fires_once,
    transactions_are_whole,
    everything_comes_to_its_end,
)
