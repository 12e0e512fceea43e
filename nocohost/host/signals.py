"""TERM and INT: the first asks the node to drain, the second makes it leave at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[str], None], leave: Callable[[int], None] = os._exit
) -> Iterator[None]:
    """Within the block, call ``stop(name)`` on the first TERM or INT and ``leave(128 + number)`` on the second.

    ``stop`` is called by the event loop, ``leave`` at once, whatever holds the loop up. For the main thread alone.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            leave(128 + number)
        else:
            loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    # Not the loop's own handlers: they wait for the loop, which code of a plugin may be blocking.
    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
