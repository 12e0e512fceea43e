"""API tokens: made once, shown once, stored as a digest."""

import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nocohost.api.errors import ConfigError, StoreConflictError
from nocohost.api.principal import Principal
from nocohost.store.schema import tokens
from nocohost.store.translate import translated
from nocohost.store.types import db_after, db_now, instant_text

PREFIX = "nch"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 12
SECRET_LENGTH = 43
"""62 ** 43 is just above 2 ** 256."""

LIVE = tokens.c.revoked_at.is_(None) & or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > db_now())


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made; its text is shown this once and stored nowhere."""

    id: str
    token: str
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Return the token as the contract's JSON object."""
        return {
            "id": self.id,
            "token": self.token,
            "scopes": list(self.scopes),
            "expires_at": instant_text(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is stored."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object, without any secret."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": list(self.scopes),
            "created_at": instant_text(self.created_at),
            "expires_at": instant_text(self.expires_at),
            "revoked_at": instant_text(self.revoked_at),
        }


def new_token_text() -> str:
    """Return a fresh token: a prefix that secret scanners know, a public id, and 256 random bits."""
    parts = (_random(ID_LENGTH), _random(SECRET_LENGTH))
    return "_".join((PREFIX, *parts))


async def create_token(
    connection: AsyncConnection, name: str, scopes: Iterable[str], expires_seconds: float | None
) -> NewToken:
    """Make a token for principal ``name``; raises ``StoreConflictError`` while that principal has a live one."""
    if not name or not name.isprintable() or len(name) > 200:
        raise ConfigError(f"{name!r} is no name for a principal", hint="1 to 200 printable characters")
    text = new_token_text()
    public_id = text.split("_")[1]
    granted = tuple(sorted(set(scopes)))
    statement = insert(tokens).values(
        id=public_id,
        name=name,
        digest=sha256(text.encode()).digest(),
        scopes=list(granted),
        created_at=db_now(),
        expires_at=null() if expires_seconds is None else db_after(float(expires_seconds)),
    )
    expired = (tokens.c.name == name, tokens.c.revoked_at.is_(None), tokens.c.expires_at <= db_now())
    await connection.execute(update(tokens).where(*expired).values(revoked_at=tokens.c.expires_at))
    try:
        with translated():
            expires_at = await connection.scalar(statement.returning(tokens.c.expires_at))
    except StoreConflictError as error:
        raise StoreConflictError(
            f"there is a token of {name!r} already", hint=f"nocohost token revoke {name}, or another name"
        ) from error
    return NewToken(public_id, text, name, granted, expires_at)


async def list_tokens(connection: AsyncConnection) -> list[TokenRow]:
    """Return all tokens, revoked ones too, oldest first."""
    columns = [column for column in tokens.c if column.name != "digest"]
    rows = await connection.execute(select(*columns).order_by(tokens.c.created_at, tokens.c.id))
    return [
        TokenRow(row.id, row.name, tuple(row.scopes), row.created_at, row.expires_at, row.revoked_at) for row in rows
    ]


async def revoke_token(connection: AsyncConnection, id_or_name: str) -> int:
    """Revoke the token with this id, or the live one of this principal; return how many were revoked."""
    named = or_(tokens.c.id == id_or_name, tokens.c.name == id_or_name)
    result = await connection.execute(
        update(tokens).where(named, tokens.c.revoked_at.is_(None)).values(revoked_at=db_now())
    )
    return int(result.rowcount)


async def find_token(connection: AsyncConnection, text: str) -> Principal | None:
    """Return the principal of a token that is known, not expired and not revoked; None for any other text."""
    prefix, _, rest = text.partition("_")
    public_id = rest.partition("_")[0]
    if prefix != PREFIX or len(public_id) != ID_LENGTH or not text.isprintable() or not text.isascii():
        return None
    query = select(tokens.c.name, tokens.c.scopes, tokens.c.digest).where(tokens.c.id == public_id, LIVE)
    row = (await connection.execute(query)).first()
    if row is None or not hmac.compare_digest(row.digest, sha256(text.encode()).digest()):
        return None
    return Principal(row.name, frozenset(row.scopes))


async def any_admin(connection: AsyncConnection) -> bool:
    """Tell whether a live token with scope ``admin`` exists."""
    scopes: Sequence[Sequence[str]] = (await connection.scalars(select(tokens.c.scopes).where(LIVE))).all()
    return any("admin" in granted for granted in scopes)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
