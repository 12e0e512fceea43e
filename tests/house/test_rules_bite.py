"""Each rule of the house finds its planted offender, and leaves the innocent neighbour alone."""

import textwrap

import import_rules
import pytest
import size_rules
import state_rules
import word_rules
from source_tree import read_modules

LONG_FUNCTION = "def f() -> None:\n" + "    f()\n" * 59
SHORT_FUNCTION = "def f() -> None:\n" + "    f()\n" * 58
METHODS = "".join(f"    def act{number}(self): ...\n" for number in range(9))
SPEC = """
class Hooks:
    @hookspec
    def register_jobs(self):
        '''Declare jobs.

        Called: once.
        Returns: a list.
        {last}
        '''
"""


def broad_excepts(modules):
    return state_rules.broad_excepts(modules, {})


PLANTED = {
    "file of 401 lines": (size_rules.long_files, "nocohost/node/mode.py", "x = 1\n" * 401, "x = 1\n" * 400),
    "function of 60 lines": (size_rules.long_functions, "nocohost/node/mode.py", LONG_FUNCTION, SHORT_FUNCTION),
    "decorated function of 60 lines": (
        size_rules.long_functions,
        "nocohost/node/mode.py",
        "@cached\n" + SHORT_FUNCTION,
        SHORT_FUNCTION,
    ),
    "protocol of 9 methods": (
        size_rules.broad_classes,
        "nocohost/api/app.py",
        f"class App(Protocol):\n{METHODS}",
        f"class App:\n{METHODS}",
    ),
    "class of 13 methods": (
        size_rules.broad_classes,
        "nocohost/host/app.py",
        f"class App:\n{METHODS}" + METHODS.replace("act", "do")[: 4 * len("    def do0(self): ...\n")],
        f"class App:\n{METHODS}    @property\n    def name(self): ...\n" + METHODS.replace("act", "_do"),
    ),
    "constructor of 8 arguments": (
        size_rules.wide_constructors,
        "nocohost/host/app.py",
        "class App:\n    def __init__(self, a, b, c, d, *, e, f, g, h): ...",
        "class App:\n    def __init__(self, a, b, c, d, *, e, f, g): ...",
    ),
    "import upwards": (
        import_rules.floors,
        "nocohost/store/jobs.py",
        "from nocohost.queue.sweep import Sweep",
        "from nocohost.node import clock",
    ),
    "import across": (
        import_rules.floors,
        "nocohost/web/health.py",
        "import nocohost.queue.sweep",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nocohost.queue.sweep",
    ),
    "relative import upwards": (
        import_rules.floors,
        "nocohost/store/jobs.py",
        "from ..queue import sweep",
        "from . import engine",
    ),
    "import of the façade": (
        import_rules.floors,
        "nocohost/host/app.py",
        "from nocohost import Job",
        "from nocohost.api.job import Job",
    ),
    "plain import of the façade": (
        import_rules.floors,
        "nocohost/host/app.py",
        "import nocohost",
        "import nocohost.api.job",
    ),
    "room without a floor": (import_rules.floors, "nocohost/attic/box.py", "x = 1", None),
    "import in a function": (
        import_rules.nested_imports,
        "nocohost/host/build.py",
        "def f():\n    from nocohost.web.server import Server",
        "def f():\n    import uvloop",
    ),
    "import by name": (
        import_rules.nested_imports,
        "nocohost/host/build.py",
        "def f(room):\n    return import_module(f'nocohost.{room}')",
        "def f(entry):\n    return import_module(entry.module)",
    ),
    "SQLAlchemy outside the store": (
        import_rules.owned_libraries,
        "nocohost/queue/claims.py",
        "def f():\n    from sqlalchemy.ext.asyncio import AsyncConnection",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sqlalchemy.ext.asyncio import AsyncConnection",
    ),
    "aiohttp outside the web": (
        import_rules.owned_libraries,
        "nocohost/api/routes.py",
        "import aiohttp.web",
        "import asyncio",
    ),
    "pluggy in another part of the api": (
        import_rules.owned_libraries,
        "nocohost/api/service.py",
        "import pluggy",
        None,
    ),
    "guest in the kitchen": (
        import_rules.guests,
        "builtin_plugins/workflow/process.py",
        "from nocohost.api.job import Job",
        "from nocohost import Job\nfrom nocohost.testing import node\nimport sqlalchemy",
    ),
    "guest who imports a room": (
        import_rules.guests,
        "builtin_plugins/workflow/process.py",
        "from nocohost import store",
        "import nocohost",
    ),
    "list of the module": (
        state_rules.mutable_modules,
        "nocohost/host/app.py",
        "apps = []",
        "from collections.abc import Sequence\nAPPS: Sequence[str] = []\nNAMES = ('a',)\n__all__ = ['APPS']",
    ),
    "lock of the module": (
        state_rules.mutable_modules,
        "nocohost/host/app.py",
        "if True:\n    lock = asyncio.Lock()",
        "def lock():\n    return asyncio.Lock()",
    ),
    "counter of the module": (
        state_rules.mutable_modules,
        "nocohost/host/app.py",
        "from collections import Counter\nseen = Counter()",
        "from prometheus_client import Counter\nSEEN = Counter('seen', 'Seen.')",
    ),
    "global": (
        state_rules.mutable_modules,
        "nocohost/host/app.py",
        "def f():\n    global app\n    app = 1",
        "def f():\n    app = 1",
    ),
    "cached singleton": (
        state_rules.mutable_modules,
        "nocohost/host/app.py",
        "@functools.cache\ndef settings(): ...",
        "@functools.cache\ndef words(text): ...",
    ),
    "except Exception": (
        broad_excepts,
        "nocohost/host/app.py",
        "try:\n    f()\nexcept (OSError, Exception):\n    pass",
        "try:\n    f()\nexcept OSError:\n    pass",
    ),
    "bare except": (broad_excepts, "nocohost/host/app.py", "try:\n    f()\nexcept:\n    pass", None),
    "suppressed exception": (
        broad_excepts,
        "nocohost/host/app.py",
        "with contextlib.suppress(BaseException):\n    f()",
        "with contextlib.suppress(OSError):\n    f()",
    ),
    "environment read below the door": (
        state_rules.environment_readers,
        "nocohost/host/build.py",
        "import os\nMODE = os.environ",
        "def build(environ):\n    return environ['WORKER_MODE']",
    ),
    "environment read by another name": (
        state_rules.environment_readers,
        "nocohost/host/build.py",
        "from os import getenv",
        "from os import path",
    ),
    "error in a room": (
        state_rules.scattered_errors,
        "nocohost/queue/sweep.py",
        "class SweepError(StoreError): ...",
        "class Sweep: ...",
    ),
    "module called utils": (word_rules.module_names, "nocohost/host/utils.py", "x = 1", None),
    "package called common": (word_rules.module_names, "nocohost/common/app.py", "x = 1", None),
    "module without a docstring": (word_rules.docstrings, "nocohost/host/app.py", "x = 1", '"""What it is for."""'),
    "banned name": (
        word_rules.identifiers,
        "nocohost/queue/sweep.py",
        "def visibilityTimeout(): ...\nclass PluginManager: ...",
        "def lease_seconds(worker_mode): ...\nclass Plugins: ...",
    ),
    "banned argument": (word_rules.identifiers, "nocohost/queue/sweep.py", "def f(worker): ...", "def f(node): ..."),
    "hookspec without its last section": (
        word_rules.hookspec_docstrings,
        "nocohost/api/hookspecs.py",
        SPEC.format(last=""),
        SPEC.format(last="If it raises: quarantined."),
    ),
    "sleeping unit test": (
        word_rules.sleeps,
        "tests/unit/node/test_clock.py",
        "import time\ntime.sleep(0.1)",
        "import asyncio\nasync def test_clock(clock):\n    await asyncio.sleep(0)\n    await clock.sleep(5)",
    ),
    "borrowed sleep": (word_rules.sleeps, "tests/unit/node/test_clock.py", "from asyncio import sleep", None),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_rule_bites(name, tmp_path):
    rule, where, guilty, innocent = PLANTED[name]
    assert offences(tmp_path / "guilty", rule, where, guilty)
    if innocent is not None:
        assert offences(tmp_path / "innocent", rule, where, innocent) == []


def offences(root, rule, where, source):
    path = root / where
    path.parent.mkdir(parents=True)
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return list(rule(read_modules(root, where.partition("/")[0])))


def test_few_files_may_be_long(tmp_path):
    for number in range(10):
        path = tmp_path / "nocohost" / f"room{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n" * (301 if number < 3 else 10))
    modules = read_modules(tmp_path, "nocohost")
    assert len(list(size_rules.long_files(modules))) == 1
    assert list(size_rules.long_files(modules[1:])) == []


def test_a_cycle_within_a_room_is_found(tmp_path):
    room = tmp_path / "nocohost" / "queue"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text("")
    (room / "beat.py").write_text("from nocohost.queue.sweep import sweep")
    (room / "sweep.py").write_text("from nocohost.queue import beat")
    assert "nocohost.queue.beat" in "".join(import_rules.cycles(read_modules(tmp_path, "nocohost")))
    (room / "sweep.py").write_text("TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from nocohost.queue import beat")
    assert list(import_rules.cycles(read_modules(tmp_path, "nocohost"))) == []


def test_a_fence_is_allowed_only_as_often_as_the_list_says(tmp_path):
    fence = "try:\n    f()\nexcept Exception:\n    pass\n"
    where = "nocohost/queue/attempt.py"
    assert (
        offences(
            tmp_path / "one", lambda modules: state_rules.broad_excepts(modules, {where: ("job run", 1)}), where, fence
        )
        == []
    )
    (two,) = offences(
        tmp_path / "two", lambda modules: state_rules.broad_excepts(modules, {where: ("job run", 1)}), where, fence * 2
    )
    assert "2 broad excepts" in two
    (less,) = offences(
        tmp_path / "less", lambda modules: state_rules.broad_excepts(modules, {where: ("job run", 1)}), where, "x = 1"
    )
    assert "lower its count" in less
    assert "no longer there" in "".join(state_rules.broad_excepts([], {where: ("job run", 1)}))


def test_prose_is_judged_outside_of_code():
    assert list(word_rules.prose({"a.md": "Start the worker.\n"})) == ["a.md:1: 'worker': the word here is node"]
    assert list(word_rules.prose({"a.md": "The worker mode `worker`\n```\nworker\n```\nWORKER_MODE\n"})) == []


def test_a_path_of_somebodys_machine_is_found(tmp_path):
    (tmp_path / "README.md").write_text("see /" + "home/ada/nocohost and https://example.org/work/x\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "notes.md").write_text("/" + "root/.profile\n")
    (offence,) = word_rules.machine_paths(tmp_path)
    assert offence.startswith("README.md:1:")
