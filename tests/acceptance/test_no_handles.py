"""A node that has no file handle left: it says so, goes on with what is open, and recovers by itself."""

import asyncio
import json
import os
import resource
from importlib.util import find_spec
from itertools import count

import aiohttp
import pytest
from acceptance.test_children import PLAIN, Client

pytestmark = pytest.mark.timeout(180)
LOOP = "acrobat:loop"
IS_FAST = find_spec("uvloop") is not None
"""Python's own event loop lets who connects wait, and says so; uvloop hangs up on them."""


def first_free(pid: int) -> int:
    """Return the lowest number that no file of the process has: as a limit, it leaves room for none."""
    return next(number for number in count(3) if not os.path.exists(f"/proc/{pid}/fd/{number}"))


async def told(node, *words: str) -> None:
    """Wait until a line of the log holds each of ``words``."""
    async with asyncio.timeout(60):
        while not all(any(word in line for line in node.lines) for word in words):
            await asyncio.sleep(0.05)


async def test_without_a_file_handle_left_a_node_goes_on_and_recovers(cluster, acrobat_environ, tmp_path) -> None:
    environ = {**acrobat_environ, "NOCOHOST_QUEUE__SPARE_CHILDREN": "0", "NOCOHOST_QUEUE__PROFILE": "default"}
    async with cluster("!,acrobat:*", **environ) as (node,), aiohttp.ClientSession() as session:
        client = Client(session, node, tmp_path / "notes")
        await client.until(await client.enqueue("good", LOOP), "succeeded")
        pid = node.process.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free(pid), usual[1]))
        async with aiohttp.ClientSession() as stranger:
            waiting = asyncio.create_task(stranger.get(f"{node.admin_url}/livez"))
            here = await client.enqueue("good", LOOP)  # by the connection that is open
            assert (await client.until(here, "succeeded", "dead"))["state"] == "succeeded"
            apart = await client.enqueue("good", PLAIN)
            await told(node, "child.unstarted", *([] if IS_FAST else ["socket.accept() out of system resource"]))
            assert IS_FAST or not waiting.done()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
            async with asyncio.timeout(30):
                if IS_FAST:
                    await asyncio.gather(waiting, return_exceptions=True)
                    waiting = asyncio.create_task(stranger.get(f"{node.admin_url}/livez"))
                assert (await waiting).status == 200
        done = await client.until(apart, "succeeded", "dead")
        assert (done["state"], done["attempts"]) == ("succeeded", 0), "whom nothing could run was not at fault"
        assert await node.stop() == 0
    events = {json.loads(line)["event"] for line in node.lines if line.startswith("{")}
    assert not {"node.fenced", "loop.died"} & events
