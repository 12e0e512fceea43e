"""TERM and INT reach a node whose event loop does not turn."""

import asyncio
import os
import signal
import time

import pytest

from nocohost.host.signals import stop_signals


class LeftError(Exception):
    """What stands for the end of the process."""


async def test_the_first_signal_asks_and_the_second_leaves() -> None:
    asked, left = asyncio.Queue(), []
    with stop_signals(asyncio.get_running_loop(), asked.put_nowait, left.append):
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(asked.get(), 30) == "SIGTERM"
        assert left == []
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [130]


async def test_the_second_signal_leaves_while_the_event_loop_is_blocked() -> None:
    def leave(code: int) -> None:
        raise LeftError(code)

    def signal_twice_and_block() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

    asked: list[str] = []
    with stop_signals(asyncio.get_running_loop(), asked.append, leave):
        with pytest.raises(LeftError, match="143"):
            signal_twice_and_block()
        assert asked == []


async def test_the_handlers_from_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_signals(asyncio.get_running_loop(), print, print):
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
