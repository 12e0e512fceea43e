"""Services that cannot be imported, whose hooks break the contract, or that return the wrong thing."""

from plugins.misfit import offering, service


def scheduling(key: str, arguments: str) -> str:
    """The source of a service module with a schedule."""
    return f"""
from nocohost import Schedule
@hookimpl
def register_services(app):
    return [Service("{key}", handle), Schedule("nightly", {arguments})]
"""


IMPORTS = [
    service(
        "raises", "raise RuntimeError('no luck today')", "import of misfit_raises.surface: RuntimeError: no luck today"
    ),
    service("absent", "import library_nobody_has", "ModuleNotFoundError: No module named 'library_nobody_has'"),
    service("syntax", "def broken(:\n", r"SyntaxError: .*surface.py, line", raw=True),
    service("exits", "import sys; sys.exit(3)", "SystemExit: 3"),
    service("interrupts", "raise KeyboardInterrupt", "KeyboardInterrupt"),
    service("odd", "class Odd(BaseException): ...\nraise Odd('base')", "Odd: base"),
    service("nomodule", "", "No module named 'misfit_nomodule.nothing'", reference="{}.nothing"),
    service("noattribute", "", "has no attribute 'nothing'", reference="{}.surface:nothing"),
    service(
        "hangs",
        "import time\nwhile True: time.sleep(1)",
        r"did not return within 1 s, it is still importing misfit_hangs\.surface",
    ),
    service(
        "hangspackage",
        offering("hangspackage:work"),
        r"did not return within 1 s, it is still importing misfit_hangspackage",
        more_files={"{}/__init__.py": "import time\nwhile True: time.sleep(1)"},
        others={"services": {"hangspackage:zwei": "{}.zwei"}},
        more={
            ("services", "hangspackage:zwei"): ("quarantined", r"the import of misfit_hangspackage never ended .*work")
        },
    ),
]
SIGNATURES = [
    service("asynchook", "@hookimpl\nasync def register_services(app): return []", "register_services is async def"),
    service("generator", "@hookimpl\ndef register_services(app): yield 1", "register_services is a generator"),
    service(
        "wrapper",
        "@hookimpl(wrapper=True)\ndef register_services(app):\n    return (yield)",
        "register_services is a wrapper",
    ),
    service("misspelt", "@hookimpl\ndef register_service(app): return []", "did you mean register_services"),
    service(
        "argument", "@hookimpl\ndef register_services(application): return []", "takes 'application'.*arguments: app"
    ),
    service("default", "@hookimpl\ndef register_services(app=None): return []", "has a default: app=None"),
    service("star", "@hookimpl\ndef register_services(*args): return []", r"takes \*args"),
    service("starstar", "@hookimpl\ndef register_services(**kwargs): return []", r"takes \*\*kwargs"),
    service("keyword", "@hookimpl\ndef register_services(*, app): return []", "takes app in a way other than by name"),
    service(
        "othergroup",
        offering("othergroup:work") + "@hookimpl\ndef serve_requests(app): return []",
        "serve_requests belongs into nocohost.requests, not into nocohost.services",
    ),
    service(
        "unmarked",
        offering("unmarked:work") + "def register_checks(app): return []",
        "the function register_checks is named like a hook but not marked",
    ),
    service("nohooks", "", "implements no register_services"),
    service(
        "lifespan",
        offering("lifespan:work") + "@hookimpl\nasync def node_lifespan(app): yield",
        "async generator.*asynccontextmanager",
    ),
]
RETURNS = [
    service(
        "otherkey", offering("otherkey:other"), "offers otherkey:other, but the entry point is named otherkey:work"
    ),
    service(
        "twoservices",
        "@hookimpl\ndef register_services(app):\n    return [Service('a:b', handle), Service('c:d', handle)]",
        "returned 2 services",
    ),
    service("noservice", "@hookimpl\ndef register_services(app): return []", "returned 0 services"),
    service("nothing", "@hookimpl\ndef register_services(app): ...", "returned None, not a list of Service"),
    service(
        "wrongitem", "@hookimpl\ndef register_services(app): return ['work']", "item 1 of register_services is a str"
    ),
    service("coroutine", "@hookimpl\ndef register_services(app): return handle(None)", "returned a coroutine"),
    service(
        "plainhandler",
        "def plain(job): ...\n" + offering("plainhandler:work", "plain"),
        "the handler plain is no async def",
    ),
    service(
        "asyncthread",
        """
        @hookimpl
        def register_services(app): return [Service("asyncthread:work", handle, isolation="thread")]
        """,
        "the handler handle is an async def, but isolation=.thread. takes a plain def",
    ),
    service(
        "memoryonloop",
        """
        @hookimpl
        def register_services(app): return [Service("memoryonloop:work", handle, memory_mib=64)]
        """,
        "memory_mib is 64",
    ),
    service("handlerargs", "async def odd(payload): ...\n" + offering("handlerargs:work", "odd"), r"takes \(payload\)"),
    service(
        "handlermore",
        "async def odd(job, app, x): ...\n" + offering("handlermore:work", "odd"),
        r"takes \(job, app, x\)",
    ),
    service(
        "badservice",
        "@hookimpl\ndef register_services(app): return [Service('badservice:work', handle, concurrency=0)]",
        "concurrency is 0",
    ),
    service(
        "hookraises",
        "@hookimpl\ndef register_services(app): raise ValueError('not now')",
        "register_services: ValueError: not now",
    ),
    service(
        "hookexits",
        "@hookimpl\ndef register_services(app): raise SystemExit('enough')",
        "register_services: SystemExit: enough",
    ),
    service(
        "hookhangs",
        "import time\n@hookimpl\ndef register_services(app): time.sleep(3600)",
        "register_services did not return within 1 s",
    ),
    service("closedapp", "@hookimpl\ndef register_services(app): app.queue", "works from ``node_lifespan`` on"),
    service(
        "badcron",
        scheduling("badcron:work", "'badcron:work', {}, cron='* * * * * *'"),
        "schedule 'nightly': cron is .* 6 fields",
    ),
    service(
        "badzone",
        scheduling("badzone:work", "'badzone:work', {}, cron='@daily', timezone='Mars/Base'"),
        "schedule 'nightly': there is no time zone 'Mars/Base'",
    ),
    service(
        "badtarget",
        scheduling("badtarget:work", "'badtarget:wrok', {}, cron='@daily'"),
        "schedule 'nightly': .*declares",
    ),
    service(
        "badtick",
        scheduling("badtick:work", "'badtick:work', {'at': handle}, interval_seconds=60"),
        "schedule 'nightly': its payload is not JSON",
    ),
    service(
        "wrongcheck",
        offering("wrongcheck:work") + "@hookimpl\ndef register_checks(app): return [print]",
        "item 1 of register_checks is a builtin_function_or_method, not a Check",
    ),
]
