"""The ORM stays away until a plugin asks for it; each case in a process of its own, since modules load once."""

import subprocess
import sys

import pytest

LOADED = "import sys; print(any(name.startswith('sqlalchemy.orm') for name in sys.modules))"


def run(*lines: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_node_loads_no_orm() -> None:
    assert run("import nocohost.cli.run", LOADED) == ["False"]


@pytest.mark.parametrize(
    "ask",
    [
        "from sqlalchemy.ext.asyncio import AsyncSession as found",
        "from sqlalchemy.ext.asyncio.session import AsyncSession as found",
        "import sqlalchemy.ext.asyncio; found = sqlalchemy.ext.asyncio.session.AsyncSession",
        "import sqlalchemy.ext.asyncio; found = sqlalchemy.ext.asyncio.AsyncSession",
    ],
)
def test_who_asks_for_a_session_gets_it(ask: str) -> None:
    compare = "import sqlalchemy.ext.asyncio as a; print(found.__name__, a.AsyncSession is found, hasattr(a, 'Nobody'))"
    assert run("import nocohost.store", ask, LOADED, compare) == ["True", "AsyncSession", "True", "False"]


def test_the_names_of_the_other_module_are_there_too() -> None:
    found = "from sqlalchemy.ext.asyncio import async_scoped_session as a, async_sessionmaker as b; print(a.__name__)"
    assert run("import nocohost.store", found) == ["async_scoped_session"]


def test_what_is_loaded_already_stays_as_it_is() -> None:
    script = ("import sqlalchemy.ext.asyncio as a; before = dict(vars(a))", "import nocohost.store")
    assert run(*script, "print(before == dict(vars(a)))") == ["True"]


def test_a_session_works_beside_the_store() -> None:
    script = """
import asyncio
import nocohost.store.database
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): ...

class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)

async def main():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with async_sessionmaker(engine)() as session:
        session.add(Note(id=7))
        await session.commit()
        print(await session.scalar(text("SELECT id FROM note")))
    await engine.dispose()

asyncio.run(main())
"""
    assert run(script) == ["7"]
