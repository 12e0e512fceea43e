"""What an import is told: checked on any node, against what is declared, before a task is made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from builtin_plugins.exchange.conversion.locale import Locale, date_pattern, locale_of
from builtin_plugins.exchange.mode import Mode
from builtin_plugins.exchange.source.encoding import known_encoding
from builtin_plugins.exchange.source.layout import Layout
from nocohost import Kind, PayloadError, Resource

if TYPE_CHECKING:
    from nocohost import App

Name = Annotated[str, Field(min_length=1, max_length=200)]
Word = Annotated[str, Field(max_length=40)]
CODE = "exchange.import"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:40]!r} is no time zone, such as Europe/Berlin") from None
    return name


def _date(form: str) -> str:
    date_pattern(form)
    return form


class ImportParams(BaseModel):
    """The params of a task of the kind ``import``."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    resource: Name = Field(description="Where the rows go, such as shop.orders")
    mode: Mode = Field(default=Mode.INSERT, description="What to do with a row whose key a record has already")
    key: list[Name] = Field(default=[], max_length=10, description="Fields to find records by; else the primary key")
    mapping: dict[str, Name | None] = Field(
        default={}, max_length=1000, description="Title of a column to the field it goes into; null leaves it out"
    )
    lookups: dict[Name, Name] = Field(
        default={}, max_length=50, description="Field that refers to a record, to the field of that record in the file"
    )
    ignore_unknown: bool = Field(default=False, description="Leave out columns that are no fields")

    format: Literal["csv", "xlsx", "jsonl"] | None = Field(default=None, description="Else what the file holds")
    encoding: Annotated[str, AfterValidator(known_encoding)] | None = Field(
        default=None, description="Of a text without a mark; else UTF-8"
    )
    separator: Annotated[str, Field(pattern=r"^[^\w\s\"\x00]$|^\t$")] | None = Field(
        default=None, description="Between cells of a CSV; else found out"
    )
    sheet: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="Of a workbook; else the first"
    )
    header_row: int = Field(
        default=1, ge=1, le=10_000, description="The row with the titles; what is above is left out"
    )

    locale: Literal["iso", "en-US", "en-GB", "de", "fr", "es", "it", "nl", "pl"] = Field(
        default="iso", description="How numbers, dates and yes are written"
    )
    decimal: Literal[".", ","] | None = None
    thousands: Literal["", ",", ".", " ", "'"] | None = None
    dates: list[Annotated[str, Field(max_length=40), AfterValidator(_date)]] | None = Field(
        default=None, max_length=10, description="Such as DD.MM.YYYY, or M/D/YYYY HH:mm; ISO is always understood"
    )
    timezone: Annotated[str, Field(max_length=80), AfterValidator(_zone)] = Field(
        default="UTC", description="Of instants without an offset"
    )
    yes: list[Word] | None = Field(default=None, max_length=20)
    no: list[Word] | None = Field(default=None, max_length=20)
    nulls: list[Word] = Field(default=[""], max_length=20, description="Cells that mean: no value")
    keep_empty: bool = Field(default=False, description="An empty cell of a text field is an empty text, not null")

    dry_run: bool = Field(default=False, description="Check everything, write nothing")
    on_error: Literal["stop", "skip"] = Field(
        default="stop", description="At a row that does not fit: nothing is imported, or the others are"
    )
    max_errors: int = Field(default=1000, ge=1, le=100_000, description="After so many, skipping stops too")
    check_first: bool = Field(
        default=True, description="With stop: read the whole file before the first row is written"
    )
    after_row: int = Field(default=0, ge=0, description="Leave out rows up to this one")

    @model_validator(mode="after")
    def _fit_together(self) -> "ImportParams":
        locale = self.meaning
        if locale.thousands and locale.thousands == locale.decimal:
            raise ValueError("decimal and thousands are the same sign")
        if both := locale.yes & locale.no:
            raise ValueError(f"{min(both)!r} means yes and no")
        return self

    @property
    def meaning(self) -> Locale:
        """Return what the text of a cell means."""
        return locale_of(
            self.locale,
            self.timezone,
            decimal=self.decimal,
            thousands=self.thousands,
            dates=None if self.dates is None else tuple(self.dates),
            yes=None if self.yes is None else frozenset(map(str.casefold, self.yes)),
            no=None if self.no is None else frozenset(map(str.casefold, self.no)),
            nulls=frozenset(self.nulls),
            keep_empty=self.keep_empty,
        )

    @property
    def layout(self) -> Layout:
        """Return how to read the file."""
        return Layout(self.format, self.encoding, self.separator, self.sheet, self.header_row)


def permissions_of(params: ImportParams, app: "App") -> Sequence[str]:
    """Return what the owner must be allowed: to write the resource, and to read those that cells refer to.

    Raises ``PayloadError`` for params that contradict what is declared, so that a task is refused at once.
    """
    resource = app.resources.declared.get(params.resource)
    if resource is None:
        raise PayloadError(
            f"resource: no installed plugin declares {params.resource!r}",
            code=CODE,
            hint=f"declared: {', '.join(sorted(app.resources.declared)) or 'none'}",
        )
    faults = [f"key: {name!r} is no field of {resource.name}" for name in params.key if name not in resource.fields]
    for title, name in params.mapping.items():
        if name is not None and name not in resource.fields:
            faults.append(f"mapping: {title[:60]!r} goes into {name!r}, which is no field of {resource.name}")
    found = []
    for name, wanted in params.lookups.items():
        try:
            found.append(referred(resource, name, wanted, app.resources.declared))
        except ValueError as error:
            faults.append(f"lookups: {error}")
    if faults:
        raise PayloadError("; ".join(faults), code=CODE, hint=f"fields: {', '.join(resource.fields)}")
    return [resource.write, *(other.read for other, _ in found)]


def referred(resource: Resource, name: str, wanted: str, declared: Any) -> tuple[Resource, str]:
    """Return the resource that a field refers to, and the field it refers by; raises ``ValueError``."""
    if name not in resource.fields:
        raise ValueError(f"{name!r} is no field of {resource.name}")
    keys = [key for key in resource.table.columns[name].foreign_keys if len(key.constraint.elements) == 1]  # type: ignore[union-attr]
    others = [(other, key.column.key) for key in keys for other in declared.values() if other.table is key.column.table]
    if not others:
        raise ValueError(f"{name!r} refers to no resource")
    other, by = others[0]
    if wanted not in other.fields:
        raise ValueError(f"{wanted!r} is no field of {other.name}, to which {name!r} refers")
    if other.fields[wanted].kind in (Kind.JSON, Kind.BINARY):
        raise ValueError(f"no record is found by {wanted!r} of {other.name}: it is {other.fields[wanted].kind}")
    return other, by
