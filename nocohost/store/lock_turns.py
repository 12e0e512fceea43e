"""Whose turn it is among the tasks of one node that want the same lock."""

import asyncio
from collections import deque


class LockTurns:
    """Lets tasks wait for a name in the order in which they asked; so one task per node asks the database."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[LockTurn]] = {}

    def ask(self, name: str) -> "LockTurn":
        """Stand in line; whoever asks must ``leave``."""
        turn = LockTurn(name)
        queue = self._queues.setdefault(name, deque())
        queue.append(turn)
        if queue[0] is turn:
            turn.come()
        return turn

    def leave(self, turn: "LockTurn") -> None:
        """Leave the line, whether the turn has come or not; the next one's comes."""
        queue = self._queues[turn.name]
        queue.remove(turn)
        if queue:
            queue[0].come()
        else:
            del self._queues[turn.name]

    def is_mine(self, name: str) -> bool:
        """Tell whether the running task has the turn."""
        queue = self._queues.get(name)
        return queue is not None and queue[0].task is asyncio.current_task()


class LockTurn:
    """One task's place in the line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task = asyncio.current_task()
        self.has_come = asyncio.Event()

    def come(self) -> None:
        """Wake the task: its turn has come."""
        self.has_come.set()
