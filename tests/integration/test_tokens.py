"""API tokens on both databases: who is let in, and who no longer."""

import asyncio

import pytest
from sqlalchemy import select, update

from nocohost.api.errors import ConfigError, StoreConflictError
from nocohost.api.principal import Principal
from nocohost.store.database import SqlDatabase
from nocohost.store.schema import tokens
from nocohost.store.tokens import NewToken, any_admin, create_token, find_token, list_tokens, revoke_token
from nocohost.store.types import db_after


async def create(database: SqlDatabase, name: str, *scopes: str, expires: float | None = None) -> NewToken:
    async with database.begin() as connection:
        return await create_token(connection, name, scopes, expires)


async def find(database: SqlDatabase, text: str) -> Principal | None:
    async with database.connect() as connection:
        return await find_token(connection, text)


async def has_admin(database: SqlDatabase) -> bool:
    async with database.connect() as connection:
        return await any_admin(connection)


async def revoke(database: SqlDatabase, id_or_name: str) -> int:
    async with database.begin() as connection:
        return await revoke_token(connection, id_or_name)


async def let_expire(database: SqlDatabase, made: NewToken) -> None:
    async with database.begin() as connection:
        await connection.execute(update(tokens).where(tokens.c.id == made.id).values(expires_at=db_after(-1.0)))


async def test_a_token_is_found_by_its_text_and_kept_only_as_a_digest(database: SqlDatabase) -> None:
    made = await create(database, "ann", "read", "shop.order", "read")
    prefix, public, secret = made.token.split("_")
    assert (prefix, public, len(secret)) == ("nch", made.id, 43)
    assert made.as_json() == {
        "id": made.id,
        "token": made.token,
        "scopes": ["read", "shop.order"],
        "expires_at": None,
    }
    assert await find(database, made.token) == Principal("ann", frozenset({"read", "shop.order"}))
    async with database.connect() as connection:
        [row] = (await connection.execute(select(tokens))).all()
        [listed] = await list_tokens(connection)
    assert secret not in repr(row)
    assert secret not in repr(listed.as_json())
    assert (listed.id, listed.name, listed.revoked_at) == (made.id, "ann", None)


async def test_another_text_is_nobody(database: SqlDatabase) -> None:
    made = await create(database, "ann", "admin")
    other = await create(database, "bob", "read")
    mixed = f"nch_{made.id}_{other.token.rpartition('_')[2]}"
    for text in (
        "",
        "nch",
        "nch_",
        "nch__",
        f"nch_{made.id}_",
        made.token[:-1],
        made.token + "x",
        mixed,
        "é",
        "nch_" + "\0" * 12 + "_x",
        "nch_" + "\udcff" * 12 + "_",
    ):
        assert await find(database, text) is None, ascii(text)
    assert await find(database, made.token.replace("nch_", "NCH_")) is None


async def test_an_expired_token_is_refused_and_its_name_is_free_again(database: SqlDatabase) -> None:
    made = await create(database, "ann", "admin", expires=3600)
    assert made.expires_at is not None
    assert str(made.as_json()["expires_at"]).endswith("Z")
    assert await find(database, made.token) is not None
    assert await has_admin(database)
    await let_expire(database, made)
    assert await find(database, made.token) is None
    assert not await has_admin(database)
    again = await create(database, "ann", "read")
    assert await find(database, again.token) is not None
    assert await find(database, made.token) is None


async def test_a_revoked_token_is_refused_by_id_or_name(database: SqlDatabase) -> None:
    for by_name in (True, False):
        made = await create(database, "ann", "admin")
        assert await revoke(database, made.name if by_name else made.id) == 1
        assert await find(database, made.token) is None
        assert not await has_admin(database)
        assert await revoke(database, made.name) == 0
    async with database.connect() as connection:
        assert [row.revoked_at is None for row in await list_tokens(connection)] == [False, False]


async def test_a_principal_has_one_live_token(database: SqlDatabase) -> None:
    made = await create(database, "ann", "read")
    with pytest.raises(StoreConflictError, match="token of 'ann' already"):
        await create(database, "ann", "admin")
    assert await find(database, made.token) == Principal("ann", frozenset({"read"}))


async def test_of_many_at_once_one_makes_the_token(database: SqlDatabase) -> None:
    results = await asyncio.gather(*(create(database, "ann", "admin") for _ in range(8)), return_exceptions=True)
    made = [one for one in results if isinstance(one, NewToken)]
    assert len(made) == 1
    assert all(isinstance(one, StoreConflictError) for one in results if one is not made[0])


async def test_only_the_scope_admin_makes_an_admin(database: SqlDatabase) -> None:
    assert not await has_admin(database)
    await create(database, "ann", "operate", "admin.read", "administrator.*")
    assert not await has_admin(database)
    await create(database, "bob", "admin")
    assert await has_admin(database)


@pytest.mark.parametrize("name", ["", "two\nlines", "\x1b[2J", "x" * 201])
async def test_a_name_must_be_readable(database: SqlDatabase, name: str) -> None:
    with pytest.raises(ConfigError):
        await create(database, name, "read")


async def test_tokens_are_listed_in_the_order_they_were_made(database: SqlDatabase) -> None:
    for name in "cab":
        await create(database, name, "read")
    async with database.connect() as connection:
        assert [row.name for row in await list_tokens(connection)] == ["c", "a", "b"]
