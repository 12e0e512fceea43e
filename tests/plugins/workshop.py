"""Two sound plugins with everything a plugin can have, to see what each worker mode imports of them."""

from plugins.misfit import HEAD, offering
from plugins.wheels import Wheel

WORKSHOP = Wheel(
    "workshop",
    {
        "workshop/__init__.py": "",
        "workshop/declarations.py": """
            from nocohost import JobType, hookimpl, hookspec

            class WorkshopHooks:
                @hookspec
                def part_found(self, part): ...

            @hookimpl
            def register_jobs():
                return [JobType("parts:count"), JobType("parts:stock")]

            @hookimpl
            def register_hookspecs():
                return [WorkshopHooks]
        """,
        "workshop/count.py": HEAD + offering("parts:count"),
        "workshop/stock.py": HEAD + offering("parts:stock"),
        "workshop/found.py": HEAD + "@hookimpl\ndef part_found(part): return part\n",
        "workshop/routes.py": HEAD
        + "@hookimpl\ndef serve_requests(app):\n    return [route('GET', '/parts', answer, permission='part.read')]\n",
        "workshop/commands.py": "import click\n@click.command()\ndef parts(): ...\n",
        "workshop/migrations/__init__.py": "RUNNABLE_FROM = '1.0'\n",
    },
    {
        "declarations": {"workshop": "workshop.declarations"},
        "services": {"parts:count": "workshop.count", "parts:stock": "workshop.stock"},
        "extensions": {"parts:count/found": "workshop.found"},
        "requests": {"workshop": "workshop.routes"},
        "commands": {"parts": "workshop.commands:parts"},
        "migrations": {"workshop": "workshop.migrations"},
    },
)
TOOLS = Wheel(
    "tools",
    {"tools/__init__.py": "", "tools/mend.py": HEAD + offering("tools:mend")},
    {"services": {"tools:mend": "tools.mend"}},
)
