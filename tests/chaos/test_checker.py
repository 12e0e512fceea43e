"""The checker against histories made by hand: a sound one, and for each rule one that breaks it and nothing else."""

import json

import pytest
from records import Dump, Evidence
from verdict import judge

NODE, OTHER = "node-1", "node-2"
PIDS = {NODE: 11, OTHER: 22, "node-5": 55}


class Tale:
    """Evidence in the making: one line per thing that happened, instants in seconds since the start."""

    def __init__(self):
        self.client, self.ledger, self.nemesis = [], [], [{"t": 0.0, "w": 0.0, "what": "seed", "dialect": "postgresql"}]
        self.jobs, self.history, self.orders, self.effects, self.pulse, self.ticks = [], [], [], [], [], []
        self.logs = {}

    def said(self, at, what, act="enqueue", **fields):
        self.client.append({"t": at, "w": at, "what": what, "act": act, "who": "client-0", **fields})
        return self

    def accepted(self, op, job, at=1.0, **fields):
        return self.said(at, "invoke", op=op, **fields).said(at + 0.1, "ok", op=op, job=job, **fields)

    def ran(self, job, fence=1, node=NODE, began=2.0, ended=3.0, outcome="done", **fields):
        where = {"name": node, "pid": PIDS[node], "node": f"id-of-{node}"}
        line = {"job": job, "op": job.upper(), "fence": fence, **where, **fields}
        self.ledger.append({**line, "t": began, "w": began, "what": "begin"})
        if ended is not None:
            self.ledger.append({**line, "t": ended, "w": ended, "what": "end", "outcome": outcome})
        return self

    def done(self, job, fence=1, node=NODE, state="succeeded", op=None, key="chaos:quick", **fields):
        row = {
            "id": job,
            "key": key,
            "state": state,
            "payload": {"op": op or job.upper()},
            "fence": fence,
            "attempts": 0,
        }
        self.history.append({**row, "node_id": f"id-of-{node}", "value": {"fence": fence}, **fields})
        return self

    def harmed(self, at, what, node=None, **fields):
        where = {} if node is None else {"node": node, "pid": PIDS[node]}
        self.nemesis.append({"t": at, "w": at, "what": what, **where, **fields})
        return self

    def judged(self, **floors):
        dump = Dump(self.jobs, self.history, (), self.orders, self.effects, self.ticks)
        return judge(Evidence(self.client, self.ledger, self.nemesis, dump, self.pulse, self.logs), floors)

    def rules(self):
        return sorted({finding.rule for finding in self.judged().findings})


def sound():
    """A job that ran once; one whose node was killed; an order, a relay, a dead letter, a cancelled one."""
    tale = Tale().accepted("A", "a").ran("a").done("a")
    tale.accepted("B", "b").ran("b", ended=None).harmed(2.5, "kill", NODE).harmed(2.6, "ended", NODE, exit=-9)
    tale.ran("b", 2, OTHER, began=6.0, ended=7.0).done("b", 2, OTHER)
    tale.said(1.0, "invoke", "order", op="C").said(1.1, "ok", "order", op="C", job="c")
    tale.ran("c").done("c", key="chaos:order").orders.append("C")
    tale.accepted("D", "d").ran("d").done("d", key="chaos:relay")
    tale.ran("e").done("e", op="D/child").effects.append({"id": 1, "job": "d", "fence": 1, "child": "e"})
    tale.accepted("F", "f").ran("f", outcome="dead").done("f", state="dead")
    tale.accepted("G", "g").said(1.5, "invoke", "cancel", job="g").done("g", 0, state="cancelled")
    return tale


def test_a_sound_history_is_ok():
    verdict = sound().judged(kill=1, rerun=1)
    assert (verdict.word, verdict.findings) == ("ok", [])
    assert verdict.counts["recoveries"] == 1
    assert verdict.counts["max_s"] == 3.5


def test_too_little_is_unknown():
    verdict = sound().judged(kill=2)
    assert verdict.word == "unknown"
    assert verdict.missed == ["kill 1 of 2"]


def test_an_accepted_job_that_is_gone():
    assert sound().accepted("Z", "z").rules() == ["I1 lost"]


def test_a_job_that_nobody_asked_for():
    assert sound().ran("z").done("z").rules() == ["I2 phantom"]


def test_a_job_that_its_client_was_told_had_failed():
    tale = sound().said(1.0, "invoke", op="Z").said(1.1, "fail", op="Z")
    assert tale.ran("z").done("z").rules() == ["I2 phantom"]


def test_an_answer_that_was_lost_says_neither_yes_nor_no():
    tale = sound().said(1.0, "invoke", op="Z").said(1.1, "info", op="Z").said(1.0, "invoke", op="Y")
    assert tale.ran("z").done("z").rules() == []


def test_two_jobs_for_one_request():
    assert sound().accepted("Z", "z").ran("z").done("z").ran("y").done("y", op="Z").rules() == ["I3 duplicate"]


def test_two_ids_for_one_idempotency_key():
    tale = sound().accepted("Z", "z", idempotency_key="k").accepted("Y", "y", idempotency_key="k")
    assert tale.ran("z").done("z").ran("y").done("y").rules() == ["I3 duplicate"]


def test_two_payloads_for_one_idempotency_key():
    tale = sound().accepted("Z", "z", idempotency_key="k", payload={"op": "Z"})
    tale.said(1.4, "invoke", op="Z").said(1.5, "ok", op="Z", job="z", idempotency_key="k", payload={"op": "Z", "x": 1})
    assert tale.ran("z").done("z").rules() == ["I3 duplicate"]


@pytest.mark.parametrize(
    "end",
    [
        lambda tale: tale.ran("z").done("z", value={"fence": 7}),
        lambda tale: tale.ran("z", ended=None).done("z"),
        lambda tale: tale.ran("z", outcome="interrupted").done("z"),
        lambda tale: tale.ran("z").done("z", node=OTHER),
        lambda tale: tale.ran("z").done("z", state="dead"),
        lambda tale: tale.ran("z", 19, ended=None).done("z", 19, state="dead", losses=19),
        lambda tale: tale.ran("z").done("z", state="cancelled"),
        lambda tale: tale.ran("z").done("z", state="running"),
        lambda tale: tale.said(4.0, "ok", "look", job="z", state="dead").ran("z").done("z"),
        lambda tale: tale.said(2.0, "ok", "look", job="z", state="succeeded").ran("z", began=2.5).done("z"),
    ],
    ids=[
        "old claim",
        "no end",
        "interrupted",
        "wrong node",
        "no reason",
        "lost too seldom",
        "unasked",
        "no end state",
        "changed",
        "again",
    ],
)
def test_a_wrong_ending(end):
    assert end(sound().accepted("Z", "z")).rules() == ["I4 ending"]


@pytest.mark.parametrize("ended", [None, 3.0])
def test_a_job_that_too_many_nodes_were_lost_with_is_a_dead_letter(ended):
    tale = sound().accepted("Z", "z").ran("z", 20, ended=ended)
    assert tale.done("z", 20, state="dead", losses=20).rules() == []


def test_a_job_that_is_over_and_not_over():
    tale = sound()
    tale.jobs.append({**tale.history[0], "state": "pending"})
    assert tale.rules() == ["I4 ending"]


def test_a_retried_dead_letter_may_run_again():
    tale = sound().said(4.0, "ok", "look", job="f", state="dead").said(5.0, "invoke", "retry", job="f")
    tale.ran("f", 2, began=6.0, ended=7.0, outcome="dead").history[:] = [r for r in tale.history if r["id"] != "f"]
    assert tale.done("f", 2, state="dead").rules() == []


def test_one_fence_for_two_attempts():
    tale = sound().accepted("Z", "z").ran("z", ended=2.5, outcome="failed").ran("z", node=OTHER, began=3.0, ended=4.0)
    assert tale.done("z", node=OTHER).rules() == ["I4 ending", "I5 fence", "I7 charge"]


def test_a_fenced_effect_that_was_committed_twice():
    tale = sound()
    tale.effects.append({"id": 2, "job": "d", "fence": 2, "child": "e"})
    assert tale.rules() == ["I5 fence"]


def overlapping():
    tale = sound().accepted("Z", "z").ran("z", began=10.0, ended=20.0, node=OTHER)
    return tale.ran("z", 2, "node-5", began=15.0, ended=16.0).done("z", 2, "node-5")


def test_two_attempts_at_once_on_nodes_that_are_well():
    assert overlapping().rules() == ["I6 overlap"]


def test_two_attempts_at_once_while_one_node_is_frozen():
    assert overlapping().harmed(11.0, "freeze", OTHER).harmed(19.0, "thaw", OTHER).rules() == []


def test_two_attempts_at_once_while_one_node_was_starved():
    tale = overlapping()
    tale.pulse += [{"t": at, "name": OTHER, "pid": PIDS[OTHER]} for at in (10.0, 10.25, 14.5, 14.75)]
    assert tale.rules() == []


def test_an_attempt_that_was_claimed_before_a_freeze_may_begin_after_it():
    tale = sound().accepted("Z", "z").ran("z", 2, "node-5", began=12.0, ended=13.0).done("z", 2, "node-5")
    tale.ran("z", 1, OTHER, began=14.1, ended=None)
    assert tale.rules() == ["I6 overlap"]
    assert tale.harmed(9.0, "freeze", OTHER).harmed(14.0, "thaw", OTHER).rules() == []


def test_a_job_that_was_taken_from_a_node_which_was_well():
    def freed(*more):
        tale = sound()
        orphan = {"event": "job.orphan_freed", "job": "z", "lost": f"id-of-{OTHER}"}
        tale.logs = {NODE: [json.dumps(line) for line in (orphan, *more)]}
        return tale

    assert freed().rules() == ["P8 loss"]
    assert freed({"event": "node.lost", "lost": f"id-of-{OTHER}"}).rules() == []
    assert freed().harmed(9.0, "stall", OTHER).harmed(9.5, "flow", OTHER).rules() == []
    assert freed().harmed(9.0, "ended", OTHER, exit=-9).rules() == []


def killed_child(last_sign):
    """A node fences itself, kills the child of an attempt, and lives on; the next attempt begins at 15."""
    tale = sound().accepted("Z", "z").ran("z", began=10.0, ended=None, node=OTHER, child=99)
    tale.pulse += [{"t": at, "name": OTHER, "pid": PIDS[OTHER], "child": 99} for at in (9.0, 9.25, last_sign)]
    return tale.ran("z", 2, "node-5", began=15.0, ended=16.0).done("z", 2, "node-5")


def test_an_attempt_in_a_child_is_over_with_the_child():
    assert killed_child(last_sign=14.5).rules() == []
    assert killed_child(last_sign=15.5).rules() == ["I6 overlap"]


def test_what_died_with_its_child_is_not_recovered_from_the_end_of_its_node():
    late = killed_child(last_sign=12.0).harmed(30.0, "kill", OTHER).harmed(30.1, "ended", OTHER, exit=-9)
    assert late.judged().counts["recoveries"] == 1
    at_once = killed_child(last_sign=12.0).harmed(12.1, "kill", OTHER).harmed(12.2, "ended", OTHER, exit=-9)
    assert at_once.judged().counts["recoveries"] == 2


@pytest.mark.parametrize(("outcome", "attempts"), [("interrupted", 1), ("snoozed", 1), ("failed", 2)])
def test_a_charge_that_is_no_failure(outcome, attempts):
    tale = sound().accepted("Z", "z").ran("z", ended=2.5, outcome=outcome).ran("z", 2, OTHER, began=3.0, ended=4.0)
    assert tale.done("z", 2, OTHER, attempts=attempts).rules() == ["I7 charge"]


def test_a_limit_of_attempts_that_was_not_kept():
    tale = sound().accepted("Z", "z").ran("z", outcome="failed")
    assert tale.done("z", state="dead", key="chaos:brittle", attempts=1).rules() == ["I7 charge"]


def killed(next_at):
    tale = sound().accepted("Z", "z").ran("z", began=7.5, ended=None, node=OTHER)
    tale.harmed(11.0, "kill", OTHER).harmed(11.1, "ended", OTHER, exit=-9)
    return tale.ran("z", 2, "node-5", began=next_at, ended=next_at + 1).done("z", 2, "node-5")


def test_a_recovery_that_took_too_long():
    assert killed(next_at=17.5).rules() == ["I8 recovery"]


@pytest.mark.parametrize(
    "trouble", [("crash", "restored", None), ("freeze", "thaw", "node-5"), ("stall", "flow", "node-5")]
)
def test_a_recovery_may_wait_for_the_database_and_for_its_node(trouble):
    begin, end, node = trouble
    assert killed(next_at=17.5).harmed(12.0, begin, node).harmed(13.0, end, node).rules() == []


@pytest.mark.parametrize(("waited", "rules"), [(0.0, ["I8 recovery"]), (0.09, [])])
def test_a_recovery_may_wait_for_a_processor(waited, rules):
    tale = killed(next_at=17.5)
    pulses = [{"t": 10.0 + step / 4, "name": "node-5", "pid": PIDS["node-5"]} for step in range(32)]
    tale.pulse += [{**line, "waited": 5.0 + step * waited} for step, line in enumerate(pulses)]
    assert tale.rules() == rules


def test_a_recovery_may_wait_for_a_node_to_be_there():
    assert killed(next_at=17.5).harmed(5.0, "ready", "node-5", works=True).rules() == ["I8 recovery"]
    assert killed(next_at=17.5).harmed(14.0, "ready", "node-5", works=True).rules() == []


def ticked(*ticks):
    tale = sound()
    for at in ticks:
        job = f"tick-{at}-{len(tale.ticks)}"
        tale.ran(job).done(job, op="tick", key="chaos:tick")
        tale.ticks.append({"schedule": "chaos.tick", "tick_at": float(at), "job_id": job})
    return tale


@pytest.mark.parametrize("ticks", [(1, 2, 4), (1, 2, 2, 3)], ids=["missed", "twice"])
def test_a_tick_that_did_not_fire_once(ticks):
    assert ticked(*ticks).rules() == ["I10 tick"]
    assert ticked(1, 2, 3).rules() == []


def test_a_tick_and_its_job_belong_together():
    lone_tick, lone_job = ticked(1, 2, 3), ticked(1, 2, 3)
    lone_tick.history.pop()
    lone_tick.ledger[:] = [line for line in lone_tick.ledger if line["job"] != "tick-3-2"]
    assert lone_tick.rules() == ["I10 tick"]
    lone_job.ticks.pop()
    assert lone_job.rules() == ["I10 tick"]


@pytest.mark.parametrize("orders", [["C", "Z"], []], ids=["no job", "no order"])
def test_half_a_transaction(orders):
    tale = sound()
    tale.orders[:] = orders
    assert tale.rules() == ["I12 transaction"]


def test_a_job_that_ran_before_its_transaction():
    tale = sound()
    tale.ledger.append({"t": 2.1, "w": 2.1, "what": "missing", "job": "c", "op": "C", "name": NODE, "pid": 11})
    assert tale.rules() == ["I12 transaction"]


def test_a_relay_without_its_effect():
    tale = sound()
    tale.effects.clear()
    assert tale.rules() == ["I12 transaction"]


def test_a_job_that_is_left_over():
    tale = sound().accepted("Z", "z").ran("z", ended=None)
    row = {"id": "z", "key": "chaos:slow", "state": "running", "payload": {"op": "Z"}, "fence": 1, "attempts": 0}
    tale.jobs.append({**row, "node_id": "id-of-node-1"})
    assert tale.rules() == ["I14 stuck"]


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "Task exception was never retrieved",
        '{"event": "loop.failing", "exception": "Traceback (most recent call last): ..."}',
    ],
)
def test_a_traceback_that_was_not_planned(line):
    tale = sound()
    tale.logs["node-1"] = ["", '{"event": "job.raised", "exception": "as planned"}', '{"event": "cut sho', line]
    assert tale.rules() == ["I15 log"]


def rolled(seconds, code):
    tale = sound().harmed(30.0, "roll", OTHER).harmed(30.0 + seconds, "ended", OTHER, exit=code)
    return tale.harmed(30.0 + seconds, "rolled", OTHER, exit=code)


@pytest.mark.parametrize(("seconds", "code"), [(9.0, 0), (1.0, 70), (1.0, -15)])
def test_a_drain_that_ended_badly(seconds, code):
    assert rolled(seconds, code).rules() == ["P6 drain"]
    assert rolled(1.0, 0).rules() == []


def test_a_node_that_thaws_and_drains_may_know_that_its_lease_is_over():
    tale = rolled(0.2, 70).harmed(25.0, "freeze", OTHER).harmed(29.9, "thaw", OTHER)
    assert tale.rules() == []


def test_a_drain_whose_jobs_had_to_wait_for_the_lease():
    tale = rolled(1.5, 0).accepted("Z", "z").ran("z", node=OTHER, began=29.0, ended=31.2, outcome="interrupted")
    tale.ran("z", 2, "node-5", began=36.0, ended=37.0).done("z", 2, "node-5", losses=2)
    assert tale.rules() == ["P6 drain"]
    assert tale.harmed(34.0, "ready", "node-5", works=True).rules() == []


@pytest.mark.parametrize("trouble", [("crash", "restored", None), ("stall", "flow", "node-5")])
def test_a_job_handed_back_may_wait_for_the_database_and_for_its_node(trouble):
    begin, end, node = trouble
    tale = rolled(1.5, 0).accepted("Z", "z").ran("z", node=OTHER, began=29.0, ended=31.2, outcome="interrupted")
    tale.ran("z", 2, "node-5", began=36.0, ended=37.0).done("z", 2, "node-5")
    assert tale.harmed(33.0, begin, node).harmed(34.5, end, node).rules() == []


@pytest.mark.parametrize("seen", [{"state": "pending", "orphan": False}, {"state": "running", "orphan": False}])
def test_a_stranded_job_that_somebody_touched(seen):
    assert sound().harmed(9.0, "stranded", "node-5", job="a", **seen).rules() == ["P8 scope"]
    assert sound().harmed(9.0, "stranded", "node-5", job="a", state="running", orphan=True).rules() == []


def test_the_verdict_tells_the_shortest_history_of_each_rule():
    tale = sound().accepted("Z", "z").ran("z", ended=None).harmed(2.2, "kill", NODE)
    text = tale.done("z").judged().text("seed 1")
    assert text.startswith("bad: seed 1\n")
    assert "Z succeeded under fence 1, whose handler never came to its end" in text
    assert (
        text.index("client-0 invoke act=enqueue") < text.index("node-1/11 begin fence=1") < text.index("node-1/11 kill")
    )
