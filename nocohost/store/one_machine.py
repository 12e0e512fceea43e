"""One machine for one SQLite file: its locks, its shared memory and the presence of its nodes hold within one kernel.

PostgreSQL is there for several. A file that a second machine reaches over a network would be damaged, sooner or later.
"""

import json
import socket
from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select

from nocohost.api.errors import StoreUnavailableError
from nocohost.store.database import SqlDatabase
from nocohost.store.nodes import GONE_STATES
from nocohost.store.schema import nodes
from nocohost.store.types import db_now

KERNEL = Path("/proc/sys/kernel/random/boot_id")
"""Tells the running kernel from every other one; containers on one machine share it."""
MARK = "machine"
"""Name of the file that says which machine uses the database, in the folder of the nodes' presence."""


async def require_one_machine(database: SqlDatabase) -> None:
    """Note that this machine uses a SQLite file; raises ``StoreUnavailableError`` while another one has live nodes.

    A machine that restarts counts as another one, and waits for the leases of its former nodes.
    """
    if database.file is None:
        return
    mark = Path(f"{database.file}-nodes", MARK)
    mine = {"kernel": this_kernel(), "name": socket.gethostname()}
    found = _read(mark)
    if found == mine:
        return
    if found is not None and found.get("kernel") != mine["kernel"]:
        async with database.connect() as connection:
            alive = nodes.c.state.not_in(GONE_STATES) & (nodes.c.lease_until > db_now())
            count = await connection.scalar(select(func.count()).select_from(nodes).where(alive)) or 0
        if count:
            raise StoreUnavailableError(
                f"the SQLite file {database.file} is in use by {count} live nodes on the machine {found.get('name')}",
                hint="several machines share a PostgreSQL; when the machine has restarted, try again in 20 s",
            )
    _write(mark, mine)


def this_kernel() -> str:
    """Return what tells this machine, as long as it is up, from every other one."""
    try:
        return KERNEL.read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _read(mark: Path) -> dict[str, str] | None:
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(mark: Path, machine: dict[str, str]) -> None:
    with suppress(OSError):  # where nothing can be written, there is no presence to show either
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(json.dumps(machine), encoding="utf-8")
