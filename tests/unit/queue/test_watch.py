"""The watch's three deadlines, by a clock that the test turns and an exit that it sees."""

import threading
from dataclasses import replace

import pytest

from nocohost.api.errors import StoreUnavailableError
from nocohost.queue.watch import DRAIN_GRACE_SECONDS, FENCED, RELEASE_SECONDS, Reins, Watch

LEASE = 15.0


class Node:
    """A node as the watch sees it: what it was told to do, and what it answers."""

    def __init__(self, log):
        self.now = 0.0
        self.told = []
        self.busy = 0
        self.asked = []
        self.answers = True
        self.release_fails = False
        self.may_release = threading.Event()
        self.may_release.set()
        self.log = log
        self.reins = Reins(
            call_soon=self._call_soon,
            fence=lambda: self.told.append("fence"),
            unfence=lambda: self.told.append("unfence"),
            busy=lambda: self.busy,
            release=self._release,
            leave=self.told.append,
        )
        self.watch = Watch(LEASE, self.reins, log=log, monotonic=lambda: self.now)

    def _call_soon(self, call):
        self.asked.append(call)
        if self.answers:
            call()

    def _release(self):
        assert self.may_release.wait(60)
        if self.release_fails:
            raise StoreUnavailableError("away")
        self.told.append("released")

    def look_past_the_drain(self, at):
        """Look at an instant, and again when the thread that it started is through."""
        self.look_at(at)
        self.watch._releasing.join(60)
        return self.look_at(at)

    def look_at(self, *instants):
        for self.now in instants:
            self.watch.look()
        return self.told


@pytest.fixture
def node(log):
    return Node(log)


def seconds(until, step=1.0):
    return [index * step for index in range(1, int(until / step) + 1)]


def test_a_node_that_beats_is_left_alone(node):
    for now in seconds(120):
        node.watch.renewed(now - 0.5)
        assert node.look_at(now) == []


def test_without_a_beat_the_node_is_fenced_at_two_thirds_of_the_lease(node):
    assert node.look_at(*seconds(9)) == []
    assert node.watch.lapse() is None
    assert node.look_at(10.0) == ["fence"]
    assert "no heartbeat" in node.watch.lapse()


def test_a_beat_that_arrives_lets_a_fenced_node_claim_again(node):
    node.look_at(*seconds(11))
    node.watch.renewed(11.0)
    assert node.look_at(11.5) == ["fence", "unfence"]
    assert node.look_at(12.0) == ["fence", "unfence"]


def test_a_handler_that_still_runs_near_the_end_of_the_lease_ends_the_process(node):
    node.busy = 1
    assert node.look_at(*seconds(13)) == ["fence"]
    assert node.look_at(14.0) == ["fence", FENCED]
    assert node.look_at(15.0, 16.0) == ["fence", FENCED]


def test_an_idle_node_without_beats_waits_for_them(node):
    assert node.look_at(*seconds(60)) == ["fence"]


def test_a_silent_loop_is_not_ready_and_after_a_lease_ends_the_process(node):
    node.answers = False
    for now in seconds(LEASE):
        node.watch.renewed(now)
        node.look_at(now)
    assert "event loop" in node.watch.silence()
    node.watch.renewed(LEASE + 1)
    assert node.look_at(LEASE + 1) == [FENCED]


def test_a_process_that_was_frozen_as_a_whole_asks_its_loop_anew(node):
    node.answers = False
    node.look_at(1.0)
    node.watch.renewed(41.0)
    assert node.look_at(41.0) == []
    assert len(node.asked) == 2


def test_a_drain_past_its_deadline_hands_the_jobs_back_and_ends_with_0(node):
    node.watch.drain_within(1.0)
    assert node.look_at(0.5, 1.0) == []
    assert node.look_past_the_drain(1.0 + DRAIN_GRACE_SECONDS) == ["released", 0]


def test_a_drain_whose_jobs_cannot_be_handed_back_ends_with_70(node):
    node.release_fails = True
    node.watch.drain_within(0.0)
    assert node.look_past_the_drain(DRAIN_GRACE_SECONDS) == [FENCED]


def test_a_database_that_is_slow_to_take_the_jobs_back_is_given_time(node):
    node.may_release.clear()
    node.watch.drain_within(1.0)
    late = 1.0 + DRAIN_GRACE_SECONDS
    assert node.look_at(late, late + RELEASE_SECONDS - 0.1) == []
    node.may_release.set()
    assert node.look_past_the_drain(late + RELEASE_SECONDS - 0.1) == ["released", 0]


def test_it_is_not_given_more_time_than_the_lease_has_left(node):
    node.may_release.clear()
    node.busy = 1
    node.watch.drain_within(1.0)
    assert node.look_at(1.0 + DRAIN_GRACE_SECONDS) == []
    assert node.look_at(LEASE) == [FENCED]
    node.may_release.set()


def test_a_database_that_does_not_answer_ends_it_with_70(node):
    node.may_release.clear()
    node.watch.drain_within(1.0)
    late = 1.0 + DRAIN_GRACE_SECONDS
    assert node.look_at(late, late + RELEASE_SECONDS) == [FENCED]
    node.may_release.set()


def test_a_drain_that_is_through_is_not_enforced_any_more(node):
    node.watch.drain_within(1.0)
    node.watch.drained()
    node.watch.renewed(9.0)
    assert node.look_at(9.5) == []


def test_a_drain_ends_in_time_on_a_machine_that_has_no_room_for_another_thread(node, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    node.watch.drain_within(1.0)
    assert node.look_at(1.0 + DRAIN_GRACE_SECONDS) == [FENCED]


def test_an_event_loop_that_is_closed_ends_the_watch(node):
    def closed(call):
        raise RuntimeError("Event loop is closed")

    watch = Watch(0.001, replace(node.reins, call_soon=closed), log=node.log)
    watch._run()  # returns
    assert node.told == []
