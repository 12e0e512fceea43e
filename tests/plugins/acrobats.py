"""A plugin whose handlers run in children and do there whatever their payload says, good and bad."""

from plugins.wheels import Wheel

TRICKS = '''
import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from sqlalchemy import text

from nocohost import DeadLetter, FenceLostError, Retry, Snooze


def note(job, word):
    """Write a word into the file that the payload names."""
    with Path(job.payload["notes"]).open("a") as notes:
        notes.write(f"{word} {job.fence} {os.getpid()}\\n")


def outcome(do):
    return {"retry": Retry(7), "snooze": Snooze(3), "dead": DeadLetter("never"), "odd": {1, 2}}.get(do, do)


async def balance(app):
    """Hold a lock, and tell everybody by which fence."""
    async with app.locks.acquire("acrobat.rope") as lock:
        await app.signals.send("acrobat.rope", {"fence": lock.fence})
        return lock.fence


def misbehave(do, job):
    """Die or hang in the way that is asked for."""
    if do == "segfault":
        print("about to fall", file=sys.stderr)
        ctypes.string_at(0)
    elif do == "_exit":
        os._exit(3)
    elif do == "exit":
        sys.exit(3)
    elif do == "interrupt":
        raise KeyboardInterrupt("own")
    elif do == "raise":
        raise ValueError("no such trick")
    elif do == "hog":
        hoard = []
        while len(hoard) < 2000:
            hoard.append(bytearray(1 << 20))
    elif do == "kill":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    elif do == "print":
        print("a line on stdout")
        print(\'{"kind": "returned", "value": "forged"}\')
        print("a line on stderr", file=sys.stderr)
        os.write(1, b"x" * 200_000 + b"\\\\n")
    elif do == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(job, "begin")
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    elif do in ("litter", "litter and die"):
        note(job, "litter:" + tempfile.mkstemp(dir=tempfile.mkdtemp())[1])
        if do == "litter and die":
            time.sleep(600)
    elif do == "family":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(job, f"grandchild:{child.pid}")
    else:
        return False
    return True
'''
PLAIN = """
from nocohost import JobType, Service, hookimpl
from contextlib import asynccontextmanager
from acrobats import tricks
from acrobats.tricks import *

LIVES = []


def perform(job, app):
    do = job.payload["do"]
    if tricks.misbehave(do, job):
        return "survived"
    if do == "who":
        return {"pid": os.getpid(), "mode": str(app.mode), "serving": app.serving("acrobat:plain"), "lives": LIVES,
                "requests": app.serving(), "env": os.environ["WORKER_MODE"], "main": threading.current_thread().name,
                "modules": sorted(m for m in sys.modules if m.startswith("acrobats")), "node": app.node.id,
                "attempt": job.attempt, "fence": job.fence, "payload": job.payload, "aiohttp": "aiohttp" in sys.modules}
    if do == "sleep":
        note(job, "begin")
        try:
            time.sleep(job.payload["seconds"])
        finally:
            note(job, "finally")
    if do == "write":
        note(job, "begin")
        time.sleep(job.payload["seconds"])
        try:
            with job.transaction() as connection:
                app.queue.enqueue("acrobat:plain", {"do": "child of " + job.id}, connection=connection)
                job.progress(1, 2, "tricks")
        except FenceLostError:
            note(job, "refused")
            raise
        note(job, "written")
    if do == "ask":
        note(job, "begin")
        while not job.cancel_requested:
            time.sleep(0.01)
        return "stopped as asked"
    if do == "balance":
        return app.wait(balance(app))
    return outcome(do)


@hookimpl
def register_services(app):
    return [Service("acrobat:plain", perform, isolation="process", timeout_seconds=None)]


@hookimpl
def node_lifespan(app):
    @asynccontextmanager
    async def live():
        LIVES.append("entered")
        async with asyncio.TaskGroup() as group:
            yield
        app.log.info("lifespan.left")
    return live()
"""
ASYNC = """
from nocohost import Service, hookimpl
from acrobats import tricks
from acrobats.tricks import *


async def perform(job, app):
    do = job.payload["do"]
    if tricks.misbehave(do, job):
        return "survived"
    if do == "who":
        return {"main": threading.current_thread().name, "serving": app.serving("acrobat:async")}
    if do == "sleep":
        note(job, "begin")
        try:
            await asyncio.sleep(job.payload["seconds"])
        finally:
            note(job, "finally")
    if do == "ask":
        note(job, "begin")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return {"requested": job.cancel_requested}
    if do == "write":
        note(job, "begin")
        await asyncio.sleep(job.payload["seconds"])
        async with job.transaction() as connection:
            await app.queue.enqueue("acrobat:plain", {"do": "child of " + job.id}, connection=connection)
            await job.progress(1, 2, "tricks")
        note(job, "written")
    if do == "balance":
        return await balance(app)
    return outcome(do)


@hookimpl
def register_services(app):
    return [Service("acrobat:async", perform, isolation="process", memory_mib=256)]
"""
FAULTY = """
from nocohost import Service, hookimpl
import os
if os.environ["WORKER_MODE"] == "-":
    raise RuntimeError("not in a child")
def perform(job): ...
@hookimpl
def register_services(app):
    return [Service("acrobat:faulty", perform, isolation="process")]
"""
DECLARATIONS = """
from nocohost import JobType, hookimpl

@hookimpl
def register_jobs():
    return [JobType("acrobat:brief", attempts=1)]
"""
BRIEF = """
import time
from nocohost import Service, hookimpl
from acrobats.tricks import note

def perform(job):
    note(job, "begin")
    time.sleep(job.payload["seconds"])

@hookimpl
def register_services(app):
    return [Service("acrobat:brief", perform, isolation="process", timeout_seconds=0.5)]
"""
THREAD = """
import threading
from nocohost import Service, hookimpl

def perform(job, app):
    with job.transaction() as connection:
        app.queue.enqueue("acrobat:plain", {"do": "sent by a thread"}, connection=connection)
    return threading.current_thread().name

@hookimpl
def register_services(app):
    return [Service("acrobat:thread", perform, isolation="thread")]
"""
LOOP = (
    ASYNC.replace("acrobat:async", "acrobat:loop")
    .replace(', isolation="process", memory_mib=256', "")
    .replace('{"main"', '{"pid": os.getpid(), "payload": job.payload, "lives": [], "main"')
)
ACROBATS = Wheel(
    "acrobats",
    {
        "acrobats/__init__.py": "",
        "acrobats/tricks.py": TRICKS,
        "acrobats/plain.py": PLAIN,
        "acrobats/awaited.py": ASYNC,
        "acrobats/faulty.py": FAULTY,
        "acrobats/brief.py": BRIEF,
        "acrobats/threaded.py": THREAD,
        "acrobats/looped.py": LOOP,
        "acrobats/declarations.py": DECLARATIONS,
    },
    {
        "services": {
            "acrobat:plain": "acrobats.plain",
            "acrobat:async": "acrobats.awaited",
            "acrobat:faulty": "acrobats.faulty",
            "acrobat:brief": "acrobats.brief",
            "acrobat:thread": "acrobats.threaded",
            "acrobat:loop": "acrobats.looped",
        },
        "declarations": {"acrobats": "acrobats.declarations"},
    },
)
