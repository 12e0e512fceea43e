"""TERM and INT: the first asks the node to drain, the second makes it leave at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[str], None], leave: Callable[[int], None] = os._exit
) -> Iterator[None]:
    """Within the block, call ``stop(name)`` on the first TERM or INT and ``leave(128 + number)`` on the second."""
    received: list[signal.Signals] = []

    def receive(number: signal.Signals) -> None:
        received.append(number)
        if len(received) > 1:
            leave(128 + number)
        else:
            stop(number.name)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
