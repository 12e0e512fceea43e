"""The checker against histories of jobs that wait: for a place in a child of their own, or for a slot of their key."""

import pytest
from test_checker import NODE, OTHER, PIDS, killed, sound


def lost_twice(next_at, *children, **marks):
    """A killed job that must run apart begins on ``node-5``, which has had children from and to these instants."""
    tale = killed(next_at).harmed(5.0, "ready", "node-5", works=True)
    tale.history[-1].update(marks or {"losses": 2})
    for number, (begun, over) in enumerate(children):
        where = {"name": "node-5", "pid": PIDS["node-5"], "child": 100 + number}
        tale.pulse += [{"t": begun, **where}, {"t": over, **where}]
    return tale


@pytest.mark.parametrize("marks", [{"losses": 2}, {"losses": 1, "crashes": 1}])
def test_what_must_run_apart_may_wait_while_no_node_has_a_place(marks):
    full = (8.0, 13.0), (6.0, 14.0)
    assert lost_twice(17.5, **marks).rules() == ["I8 recovery"], "there were places all the time"
    assert lost_twice(17.5, full[0], **marks).rules() == ["I8 recovery"], "there was one"
    assert lost_twice(17.5, *full, **marks).rules() == [], "there was none for two seconds"
    assert lost_twice(21.5, *full, **marks).rules() == ["I8 recovery"], "there was one for long"
    assert lost_twice(21.5, *full, (13.2, 16.0), (14.4, 18.0), **marks).rules() == []
    assert lost_twice(17.5, *full, **marks).harmed(5.0, "ready", NODE, works=True).rules() == [], "it is dead"
    assert lost_twice(17.5, *full, losses=1).rules() == ["I8 recovery"], "it needs no place"


def test_a_child_that_waits_for_another_job_takes_nobody_s_place():
    full = (8.0, 13.0), (6.0, 14.0)
    idle = lost_twice(17.5, *full).ran("y", began=9.0, ended=10.2, node="node-5", child=101)
    idle.accepted("Y", "y").done("y", node="node-5")
    assert idle.rules() == ["I8 recovery"], "there was one after the first job of the second child"
    busy = lost_twice(17.5, *full).ran("y", began=9.0, ended=9.5, node="node-5", child=101)
    busy.accepted("Y", "y").done("y", node="node-5")
    busy.accepted("X", "x").ran("x", began=9.7, ended=13.5, node="node-5", child=101).done("x", node="node-5")
    assert busy.rules() == [], "it went on with the next"


def test_a_node_with_a_place_takes_what_others_have_none_for():
    tale = lost_twice(17.5, (8.0, 13.0), (6.0, 14.0))
    tale.nemesis.append({"t": 5.0, "w": 5.0, "what": "ready", "node": "node-4", "pid": 44, "works": True})
    assert tale.rules() == ["I8 recovery"]


def in_children(*spans):
    tale = sound()
    for number, (began, ended) in enumerate(spans):
        job, child = f"x{number}", 100 + number
        tale.accepted(job.upper(), job).ran(job, began=began, ended=ended, child=child, node=OTHER).done(
            job, node=OTHER
        )
    return tale


def test_a_node_that_runs_more_children_than_it_has_places():
    assert in_children((10.0, 14.0), (11.0, 12.0), (12.5, 15.0)).rules() == []
    assert in_children((10.0, 14.0), (11.0, 13.0), (12.5, 15.0)).rules() == ["P5 places"]


def handed_back(busy, key="chaos:quick", slots=10):
    """A job that a drain hands back at 31.2 begins at 36 on ``node-5``, whose slots were busy meanwhile with others."""
    tale = sound().harmed(5.0, "ready", "node-5", works=True).harmed(30.0, "roll", OTHER)
    tale.harmed(31.5, "ended", OTHER, exit=0).harmed(31.5, "rolled", OTHER, exit=0)
    tale.accepted("Z", "z").ran("z", node=OTHER, began=29.0, ended=31.2, outcome="interrupted")
    tale.ran("z", 2, "node-5", began=36.0, ended=37.0).done("z", 2, "node-5")
    for number in range(slots):
        job = f"y{number}"
        tale.accepted(job.upper(), job).ran(job, node="node-5", began=29.5, ended=busy).done(
            job, node="node-5", key=key
        )
    return tale


def test_a_job_handed_back_may_wait_while_every_slot_of_its_key_is_taken():
    assert handed_back(busy=35.9).rules() == [], "there was none"
    assert handed_back(busy=31.5).rules() == ["P6 drain"], "they were free again for long"
    assert handed_back(busy=35.9, slots=9).rules() == ["P6 drain"], "there was one"
    assert handed_back(busy=35.9, key="chaos:order").rules() != [], "they were of another key"
    other = handed_back(busy=35.9)
    other.nemesis.append({"t": 5.0, "w": 5.0, "what": "ready", "node": "node-4", "pid": 44, "works": True})
    assert other.rules() == ["P6 drain"], "another node had all of its own"
