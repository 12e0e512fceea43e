"""Hints inside one node: who hears what, and how many of equal hints are sent."""

import asyncio

import pytest

from nocohost.store import subscribers
from nocohost.store.subscribers import LONGEST_MESSAGE, Outbox, Subscribers


def pair() -> tuple[Subscribers, Subscribers, list[str | None]]:
    """Return who sends, who hears, and what was heard under ``job``."""
    heard: list[str | None] = []
    hearing = Subscribers()
    hearing.add("job", heard.append)
    return Subscribers(), hearing, heard


@pytest.mark.parametrize("text", ["shop:invoice", "", "two words", "line\nline", 'quote " and \\', "\0", "\ud800", "ü"])
def test_a_hint_says_what_was_sent(text: str) -> None:
    sending, hearing, heard = pair()
    line = sending.encode("job", text)
    assert line.isascii()
    assert "\n" not in line
    hearing.deliver(line)
    assert heard == [text]


def test_a_text_that_is_too_long_makes_its_readers_look_everywhere() -> None:
    sending, hearing, heard = pair()
    line = sending.encode("job", "x" * LONGEST_MESSAGE)
    assert len(line) < 100
    hearing.deliver(line)
    assert heard == [None]


def test_other_topics_own_hints_and_nonsense_are_not_heard() -> None:
    sending, hearing, heard = pair()
    for line in (
        sending.encode("lock", "shop:invoice"),
        hearing.encode("job", "shop:invoice"),
        "",
        "job",
        "x job",
        "x job {",
        "x job 7",
        "invoice",
    ):
        hearing.deliver(line)
    assert heard == []


def test_whoever_leaves_hears_no_more_even_while_it_is_told() -> None:
    node, heard = Subscribers(), []
    removers = [node.add("job", lambda text: (heard.append(text), removers[0]())) for _ in range(2)]
    node.catch_up()
    assert heard == [None, None]
    node.catch_up()
    assert heard == [None, None, None]
    removers[0]()  # a second time
    removers[1]()
    assert not node


async def test_the_first_of_equal_hints_goes_at_once_and_the_rest_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[tuple[str, str], ...]] = []
    outbox = Outbox(lambda hints: sent.append(tuple(hints)))
    monkeypatch.setattr(subscribers, "WINDOW_SECONDS", 60.0)
    for _ in range(100):
        outbox.put("job", "a:b")
    assert sent == [(("job", "a:b"),)]
    outbox.put("job", "c:d")
    assert sent[1:] == [(("job", "c:d"),)]
    outbox.close()
    assert sent[2:] == [(("job", "a:b"),)]


async def test_a_hint_that_waits_goes_when_its_window_ends_and_the_next_one_waits_again() -> None:
    sent: list[str] = []
    done = asyncio.Event()

    def write(hints: object) -> None:
        sent.append(repr(hints))
        if len(sent) == 2:
            outbox.put("job", "a:b")
            assert len(sent) == 2
        if len(sent) == 3:
            done.set()

    outbox = Outbox(write)
    outbox.put("job", "a:b")
    outbox.put("job", "a:b")
    await asyncio.wait_for(done.wait(), 30)
    assert len(sent) == 3
