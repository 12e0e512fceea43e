"""Declarations that cannot be read, or that contradict the contract or each other; and routes that nobody may have."""

from plugins.misfit import requests, surface

PUBLISHING = """
@hookimpl
def register_hookspecs(): return [Specs]

class Specs:
    pass
"""
SHARED = """
    @hookspec
    def shared_hook(self): ...
"""
DECLARING = [
    surface(
        "declaring",
        "declarations",
        "declaring",
        "raise RuntimeError('no data')",
        "RuntimeError: no data",
        others={
            "services": {"declaring:work": "{}.work"},
            "extensions": {"neighbour:work/declaring": "{}.ext"},
            "requests": {"declaring": "{}.routes"},
            "migrations": {"declaring": "{}.migrations"},
            "commands": {"declaring": "{}.commands"},
        },
        more=dict.fromkeys(
            (
                ("services", "declaring:work"),
                ("extensions", "neighbour:work/declaring"),
                ("requests", "declaring"),
                ("migrations", "declaring"),
                ("commands", "declaring"),
            ),
            ("quarantined", "its declarations .*declaring.* are quarantined: .*RuntimeError: no data"),
        ),
    ),
    surface(
        "declasync",
        "declarations",
        "declasync",
        "@hookimpl\nasync def register_jobs(): return []",
        "register_jobs is async def",
    ),
    surface(
        "declapp",
        "declarations",
        "declapp",
        "@hookimpl\ndef register_jobs(app): return []",
        "takes 'app'.*arguments: none",
    ),
    surface(
        "decltype",
        "declarations",
        "decltype",
        "@hookimpl\ndef register_jobs(): return {}",
        "returned a dict, not a list of JobType",
    ),
    surface(
        "declpayload",
        "declarations",
        "declpayload",
        "@hookimpl\ndef register_jobs(): return [JobType('a:b', payload=dict)]",
        "payload of job type a:b is the class dict",
    ),
    surface(
        "declsettings",
        "declarations",
        "declsettings",
        "@hookimpl\ndef register_settings(): return dict",
        "returned the class dict, not a pydantic model",
    ),
    surface(
        "declmisspelt",
        "declarations",
        "declmisspelt",
        "@hookimpl\ndef register_job(): return []",
        "did you mean register_jobs",
    ),
    surface(
        "declservice",
        "declarations",
        "declservice",
        "@hookimpl\ndef register_services(app): return []",
        "belongs into nocohost.services",
    ),
    surface("declempty", "declarations", "declempty", "", "implements no hook"),
    surface(
        "jobsone",
        "declarations",
        "jobsone",
        "@hookimpl\ndef register_jobs(): return [JobType('shared:jobs')]",
        r"the jobs of shared:jobs are declared by jobsone \(misfit-jobsone 1\.0\) and by jobstwo",
    ),
    surface(
        "jobstwo",
        "declarations",
        "jobstwo",
        "@hookimpl\ndef register_jobs(): return [JobType('shared:jobs')]",
        "the jobs of shared:jobs are declared by jobsone .* and by jobstwo",
    ),
    surface(
        "jobsthief",
        "declarations",
        "jobsthief",
        "@hookimpl\ndef register_jobs(): return [JobType('neighbour:work')]",
        "the jobs of neighbour:work are declared by jobsthief .* and by neighbour",
    ),
    surface(
        "specsone",
        "declarations",
        "specsone",
        PUBLISHING + SHARED,
        "the hook shared_hook is published by specsone .* and by specstwo",
        others={"extensions": {"neighbour:work/shared": "{}.shared"}},
        more_files={"{}/shared.py": "from nocohost import hookimpl\n@hookimpl\ndef shared_hook(): ..."},
        more={("extensions", "neighbour:work/shared"): ("quarantined", "its declarations")},
    ),
    surface(
        "specstwo",
        "declarations",
        "specstwo",
        PUBLISHING + SHARED,
        "the hook shared_hook is published by specsone .* and by specstwo",
    ),
    surface(
        "specsuser",
        "declarations",
        "specsuser",
        "@hookimpl\ndef shared_hook(): ...",
        "no installed plugin publishes the hook shared_hook",
        "disabled",
    ),
    surface(
        "specscore",
        "declarations",
        "specscore",
        PUBLISHING + "    @hookspec\n    def serve_requests(self): ...\n",
        "serve_requests is a hook of nocohost",
    ),
    surface(
        "specsasync",
        "declarations",
        "specsasync",
        PUBLISHING + "    @hookspec\n    async def later(self): ...\n",
        "Specs.later is async def",
    ),
    surface(
        "specsempty",
        "declarations",
        "specsempty",
        PUBLISHING,
        "Specs holds no hook",
    ),
]


ROUTES = [
    requests("nopermission", "route('GET', '/x', answer)", "says neither who may call it nor that it is public"),
    requests("baremade", "Route('GET', '/bare', answer)", "says neither who may call it"),
    requests("underapi", "route('GET', '/api/x', answer, public=True)", "lies outside /api"),
    requests("healthpath", "route('GET', '/readyz', answer, public=True)", "the path belongs to the host"),
    requests("badpath", "route('GET', '/a/{', answer, public=True)", "a brace without its partner"),
    requests("badregex", r"route('GET', '/a/{x:[}', answer, public=True)", "is no regular expression"),
    requests(
        "plainroute", "route('GET', '/plain', print, public=True)", "the handler of route GET /plain is no async def"
    ),
    requests(
        "twice",
        "route('GET', '/twice', answer, public=True), route('GET', '/twice', answer, public=True)",
        "also claimed by the same plugin",
    ),
    requests(
        "clashone",
        "route('GET', '/clash/{x}', answer, public=True)",
        r"route GET /clash/\{x\} is also claimed by clashtwo \(/clash/\{y\}\)",
    ),
    requests(
        "clashtwo",
        "route('GET', '/fine', answer, public=True), route('GET', '/clash/{y}', answer, public=True)",
        r"route GET /clash/\{y\} is also claimed by clashone",
    ),
    requests(
        "authargs", "", "authenticate_request takes 'token'", "@hookimpl\ndef authenticate_request(app, token): ..."
    ),
]
