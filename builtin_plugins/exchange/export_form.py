"""What an export is told: checked on any node, against what is declared, before a task is made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from builtin_plugins.exchange.selection import select_columns
from nocohost import PayloadError, ResourceError

if TYPE_CHECKING:
    from nocohost import App

CODE = "exchange.export"
Name = Annotated[str, Field(min_length=1, max_length=401)]


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"{name[:40]!r} is no encoding of texts, such as utf-8 or windows-1252") from None
    return name


class ExportParams(BaseModel):
    """The params of a task of the kind ``export``."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    resource: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="What is exported: shop.orders")
    format: Literal["csv", "xlsx", "jsonl", "parquet"] = Field(default="csv", description="What the file is")
    filter: Any = Field(default=None, description="Which records, in the grammar of the API; else all")
    sort: str | list[Name] | None = Field(default=None, description="As in the API: -total,id; else by the primary key")
    fields: list[Name] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Which fields; buyer.name is of the record referred to",
    )
    titles: bool | dict[Name, Annotated[str, Field(max_length=200)]] = Field(
        default=True, description="Above the columns: the titles of fields, their names (false), or these"
    )
    separator: Annotated[str, Field(pattern=r"^[,;|\t]$")] = Field(default=",", description="Between cells of a CSV")
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(default="utf-8", description="Of a CSV")
    bom: bool = Field(default=False, description="Begin a CSV with the mark by which spreadsheets know UTF-8")
    guard: bool = Field(
        default=True,
        description="Put ' before texts of a CSV that a spreadsheet would run: those that begin with = + - @ or a tab",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> "ExportParams":
        if self.bom and self.encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}:
            raise ValueError("bom is for utf-8")
        return self


def permissions_of(params: ExportParams, app: "App") -> Sequence[str]:
    """Return what the owner must be allowed: to read the resource, and those whose fields are exported with it.

    Raises ``PayloadError`` for params that contradict what is declared, so that a task is refused at once.
    """
    declared = app.resources.declared
    resource = declared.get(params.resource)
    if resource is None:
        raise PayloadError(
            f"resource: no installed plugin declares {params.resource!r}",
            code=CODE,
            hint=f"declared: {', '.join(sorted(declared)) or 'none'}",
        )
    try:
        columns = select_columns(resource, declared, params.fields, params.titles)
        app.resources.bulk.select(params.resource, filter=params.filter, sort=params.sort)
    except (ValueError, ResourceError) as error:
        faults = getattr(error, "faults", ())
        raise PayloadError(
            str(error), code=CODE, hint=f"fields: {', '.join(resource.fields)}", faults=faults
        ) from error
    return list(dict.fromkeys([resource.read, *(column.resource.read for column in columns)]))
