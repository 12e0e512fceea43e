"""One child as its node sees it: a process group of its own, a channel, and what it prints."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nocohost.api.errors import ChildCrashedError
from nocohost.api.log import Log
from nocohost.child.messages import ANSWERS, LINE_BYTES, Message, decode, encode
from nocohost.child.scratch import remove_folder

TAIL_LINES = 40
TAIL_LETTERS = 4000
LAST_WORDS_SECONDS = 1.0
"""How long a process that has ended is listened to: what it started may keep its streams open for ever."""
LOG_LEVELS = frozenset({"debug", "info", "warning", "error"})


class Child:
    """A child, from ``start`` to its end; it gets work orders, each after it has answered the one before.

    It dies with this process, whatever becomes of either; what it has started is killed when it ends.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        channel: socket.socket,
        log: Log,
        key: str | None,
        scratch: Path | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.key = key
        """The service key whose modules it has imported last."""
        self.log = log.bind(child=process.pid)
        self.ready = asyncio.Event()
        self.started = asyncio.Event()
        """Set when the handler of the work order is about to begin."""
        self.ended: asyncio.Future[int] = loop.create_future()
        """What it exited with, negative for a signal."""
        self.is_out_of_memory = False
        self.is_cancelled = False
        """Whether it was asked to end a handler: it takes no work order after that."""
        self._process = process
        self._scratch = scratch
        self._channel = channel
        self._writer: asyncio.StreamWriter | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._answer: asyncio.Future[Message] = loop.create_future()
        self._listener = asyncio.create_task(self._listen(), name=f"listen to child {process.pid}")
        self._relays = [
            asyncio.create_task(self._relay(stream, name), name=f"{name} of child {process.pid}")
            for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        self._outbox = deque[bytes]()
        threading.Thread(target=self._wait, args=(loop,), name=f"wait for child {process.pid}", daemon=True).start()

    @classmethod
    def start(cls, arguments: Sequence[str], log: Log, key: str | None = None, scratch: Path | None = None) -> "Child":
        """Start a child; ``arguments`` get the number of its end of the channel and our process id appended.

        ``scratch`` is the folder for its temporary files, which is removed when it has ended. Raises
        ``OSError`` where there is no room for one more.
        """
        here, there = socket.socketpair()
        place = () if scratch is None else ("--scratch", str(scratch))
        with there:
            here.setblocking(False)
            try:
                process = subprocess.Popen(  # noqa: S603 - our own command
                    [*arguments, "--channel", str(there.fileno()), "--parent", str(os.getpid()), *place],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(there.fileno(),),
                    start_new_session=True,
                )
            except OSError:
                here.close()
                raise
        return cls(process, here, log, key, scratch)

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Tell whether it has not ended yet."""
        return not self.ended.done()

    @property
    def resident_bytes(self) -> int:
        """Return how much memory it has resident, 0 once it has ended."""
        import psutil  # most nodes never ask

        with suppress(psutil.Error):
            return int(psutil.Process(self.pid).memory_info().rss)
        return 0

    def send(self, kind: str, **fields: Any) -> None:
        """Say something; nothing happens when it has ended."""
        line = encode(kind, **fields)
        if self._writer is None:
            self._outbox.append(line)
        elif self.is_alive:
            self._writer.write(line)

    def order(self, key: str, *, is_last: bool, **fields: Any) -> None:
        """Give it a work order; ``answer`` is that to this one from now on."""
        self.key = key
        self.started.clear()
        self._tail.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self.send("order", is_last=is_last, **fields)

    def cancel(self, requested: bool) -> None:
        """Ask it to end the handler; ``requested`` says whether a person wants so."""
        self.is_cancelled = True
        self.send("cancel", requested=requested)

    async def answer(self) -> Message:
        """Wait for its answer to the work order; raises ``ChildCrashedError`` when it ends without one."""
        either: set[asyncio.Future[Any]] = {self._answer, self.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            await asyncio.wait({self._listener, *self._relays}, timeout=LAST_WORDS_SECONDS)
        if self._answer.done():
            return self._answer.result()
        raise self._crash(self.ended.result())

    def signal(self, number: int) -> None:
        """Send a signal to the child and to what it has started."""
        if self.is_alive:
            with suppress(ProcessLookupError, PermissionError):  # macOS says so of a group that has just ended
                os.killpg(self.pid, number)

    async def end(self, seconds: float) -> None:
        """Let it end by itself within ``seconds``, then kill it."""
        self.send("leave")
        await asyncio.wait({self.ended}, timeout=seconds)
        self.signal(signal.SIGKILL)
        await self.ended

    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._channel, limit=LINE_BYTES)
        self._writer.writelines(self._outbox)
        try:
            while line := await reader.readline():
                self._hear(decode(line))
        except ConnectionError:
            pass  # it has ended with something unread
        except ValueError as error:  # no message, or longer than the limit
            self._tail.append(f"(what it said cannot be read: {error})")
            self.signal(signal.SIGKILL)
        finally:
            self._writer.close()

    def _hear(self, said: Message) -> None:
        if said.kind == "log":
            level = said.fields.pop("level", "info")
            event = str(said.fields.pop("event", ""))
            if not self.ready.is_set() or level not in LOG_LEVELS:
                level = "debug"  # of what is wrong with what is installed, its node has told already
            getattr(self.log, level)(event, **said.fields)
        elif said.kind == "ready":
            self.ready.set()
        elif said.kind == "started":
            self.started.set()
        elif said.kind == "memory":
            self.is_out_of_memory = True
        elif said.kind in ANSWERS and not self._answer.done():
            self._answer.set_result(said)

    async def _relay(self, stream: Any, name: str) -> None:
        """Write what the child prints to the log, line by line."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), stream
        )
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    line = b"(a line longer than 64 KiB was left out)\n"
                if not line:
                    return
                text = line.decode(errors="replace").rstrip("\r\n")
                if name == "stderr":
                    self._tail.append(text)
                self.log.info("child.said", stream=name, line=text)
        finally:
            transport.close()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the end, in a thread: the one way that every platform has and no grandchild can hold up."""
        if hasattr(os, "waitid"):
            # The process stays as it is until what it has started is gone, so its number cannot be another's yet.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        if self._scratch is not None:
            remove_folder(self._scratch)
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(self._has_ended, code)

    def _has_ended(self, code: int) -> None:
        self.ended.set_result(code)
        asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self._stop_listening)

    def _stop_listening(self) -> None:
        for task in (self._listener, *self._relays):
            task.cancel()

    def _crash(self, code: int) -> ChildCrashedError:
        number = -code if code < 0 else None
        if self.is_out_of_memory:
            text = "the child used up its memory"
        elif number is not None:
            text = f"the child was killed by {_name(number)}"
        else:
            text = f"the child exited with code {code} before its handler ended"
        tail = "\n".join(self._tail)[-TAIL_LETTERS:]
        exit_code = None if code < 0 else code
        return ChildCrashedError(text, exit_code=exit_code, signal=number, stderr_tail=tail)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
