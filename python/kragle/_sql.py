"""SQL: statements in, data frames out; connections and tables."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _arrow, _query
from ._context import client, links
from ._errors import Error
from ._http import ARROW, problem
from ._listing import Listing

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

Form = Literal["pandas", "polars", "arrow", "spark"]
Mode = Literal["create", "replace", "append"]
MODES = ("create", "replace", "append")


@overload
def sql(
    statement: str,
    to: Literal["pandas"] = "pandas",
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pd.DataFrame: ...
@overload
def sql(
    statement: str,
    to: Literal["polars"],
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pl.DataFrame: ...
@overload
def sql(
    statement: str,
    to: Literal["arrow"],
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pa.Table: ...
@overload
def sql(
    statement: str,
    to: str,
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> Any: ...
def sql(
    statement: str,
    to: str = "pandas",
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> Any:
    """Run a statement and return its result as a data frame.

    ``to`` is pandas (when nothing is said), polars, arrow or spark. ``conn`` names a
    connection of ``kg.connections()``; without it the default one is used. Each
    ``:name`` in the statement takes its value from ``params``: values are bound by
    the engine and never become text of the statement.

    ``max_age`` accepts a result that the server kept for at most so many seconds;
    ``max_rows`` ends the result there; ``timeout`` is in seconds. An interrupt, and
    a result that this process has no memory for, cancel the statement.
    """
    _query.check_form(to)
    return _prepared(statement, conn, params, max_rows, max_age, timeout).result(to, progress)


def submit(
    statement: str,
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
) -> _query.Query:
    """Send a statement and return at once; ``result()`` of what is returned waits for it."""
    return _prepared(statement, conn, params, max_rows, max_age, timeout).submit()


def _prepared(
    statement: str,
    conn: str | None,
    params: Mapping[str, Any] | None,
    max_rows: int | None,
    max_age: float | None,
    timeout: float | None,
) -> _query.Query:
    body = _query.body_of(statement, conn, params, links(), max_rows, max_age, timeout)
    return _query.Query(client(), statement, body)


@dataclass(frozen=True)
class Connection:
    """A place where SQL runs. The server holds its credentials."""

    name: str
    engine: str
    description: str = ""
    read_only: bool = False
    default: bool = False


def connections() -> Listing[Connection]:
    """Return the connections that you may use."""
    said = client().json("GET", "/api/connections") or {}
    return Listing(
        (
            Connection(
                name=str(one.get("name", "")),
                engine=str(one.get("engine", "")),
                description=str(one.get("description") or ""),
                read_only=bool(one.get("readOnly")),
                default=bool(one.get("default")),
            )
            for one in said.get("connections") or []
        ),
        ("name", "engine", "description", "read_only", "default"),
    )


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    nullable: bool = True
    comment: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a connection. Nothing of its rows is here until it is asked for."""

    name: str
    schema: str = ""
    catalog: str = ""
    kind: str = "table"
    rows: int | None = None
    comment: str = ""
    modified: datetime.datetime | None = None
    conn: str | None = field(default=None)

    @property
    def full_name(self) -> str:
        """The name for a statement, quoted where that is needed."""
        parts = [part for part in (self.catalog, self.schema, self.name) if part]
        return ".".join(identifier(part) for part in parts)

    @property
    def details(self) -> dict[str, Any]:
        """What the catalog says: columns, comments, sample, what wrote and read it."""
        return describe(_dotted(self), self.conn)

    @property
    def columns(self) -> Listing[Column]:
        """The columns, in their order."""
        return Listing(
            (
                Column(
                    str(one.get("name", "")),
                    str(one.get("type", "")),
                    one.get("nullable") is not False,
                    str(one.get("comment") or ""),
                )
                for one in self.details.get("columns") or []
            ),
            ("name", "type", "nullable", "comment"),
        )

    def read(self, to: str = "pandas", columns: list[str] | None = None, max_rows: int | None = None) -> Any:
        """Return the rows as a data frame; only ``columns``, and the first ``max_rows``, where they are given."""
        chosen = ", ".join(identifier(name) for name in columns) if columns else "*"
        limit = "" if max_rows is None else f" LIMIT {int(max_rows)}"
        return sql(f"SELECT {chosen} FROM {self.full_name}{limit}", to, self.conn)

    def head(self, rows: int = 10) -> Any:
        """Return a few rows as a pandas DataFrame."""
        return self.read(max_rows=rows)

    def to_pandas(self) -> Any:
        """Return all rows as a pandas DataFrame."""
        return self.read("pandas")

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.read("arrow").__arrow_c_stream__(requested_schema)


def _dotted(table: Table) -> str:
    return ".".join(part for part in (table.catalog, table.schema, table.name) if part)


def identifier(name: str) -> str:
    """Return a name as a statement takes it: in quotes where it is not a plain one."""
    if name.isascii() and name.isidentifier() and name == name.lower() and name not in RESERVED:
        return name
    if "\0" in name:
        raise ValueError("a name of SQL holds no NUL")
    return '"' + name.replace('"', '""') + '"'


RESERVED = frozenset(
    "all and any as asc between both by case cast check collate column constraint create cross current_date "
    "current_time current_timestamp default desc distinct do else end except exists false fetch for foreign from "
    "full grant group having in inner intersect into is join lateral leading left like limit natural not null "
    "offset on only or order outer primary references right select some table then to trailing true union unique "
    "user using values when where window with".split()
)


def tables(conn: str | None = None, search: str = "") -> Listing[Table]:
    """Return the tables of a connection; only those whose name holds ``search``, where it is given."""
    found: list[Table] = []
    cursor: str | None = None
    while True:
        said = client().json("GET", "/api/catalog", query={"connection": conn, "cursor": cursor}) or {}
        found += [_table(one, conn) for one in said.get("tables") or []]
        cursor = said.get("next") or None
        if not cursor or len(found) >= 100_000:
            break
    word = search.lower()
    return Listing(
        (one for one in found if word in one.name.lower()), ("schema", "name", "kind", "rows", "comment", "modified")
    )


def _table(said: Mapping[str, Any], conn: str | None) -> Table:
    rows = said.get("rows")
    return Table(
        name=str(said.get("name", "")),
        schema=str(said.get("schema") or ""),
        catalog=str(said.get("catalog") or ""),
        kind=str(said.get("kind") or "table"),
        rows=rows if isinstance(rows, int) and rows >= 0 else None,
        comment=str(said.get("comment") or ""),
        modified=_time(said.get("modifiedAt")),
        conn=conn,
    )


def _time(text: Any) -> datetime.datetime | None:
    if not isinstance(text, str) or text.startswith("0001-"):
        return None
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def describe(name: str, conn: str | None = None) -> dict[str, Any]:
    """Return what the catalog says of a table."""
    said: dict[str, Any] = client().json("GET", "/api/catalog/table", query={"connection": conn, "name": name}) or {}
    return said


def table(name: str, conn: str | None = None) -> Table:
    """Return a table by name ("playback", "main.playback"); there is an error when there is none."""
    said = describe(name, conn)
    return _table({"name": name.split(".")[-1], **said}, conn)


def write(data: Any, name: str, mode: Mode = "create", conn: str | None = None) -> int:
    """Write a data frame to a table; return how many rows it had.

    ``mode`` is create (an error when the table exists), replace or append. The data
    is a frame of pandas, polars or Spark, an Arrow table, a dictionary of columns or
    a list of dictionaries. It is sent a batch at a time and is there as a whole, or
    not at all. A pandas index is written when it has a name.
    """
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}: want one of {', '.join(MODES)}")
    what = f"write {name!r}"
    if not isinstance(name, str) or not name.strip():
        raise ValueError("write: the name of the table is missing")
    reader = _arrow.reader_of(data, what)
    response = client().stream(
        "POST",
        "/api/catalog/load",
        {"connection": conn, "name": name, "mode": mode, **links()},
        accept="application/json",
        body=_arrow.stream_of(reader),
        content_type=ARROW,
        wait=None,
    )
    import json

    text = response.read()
    if response.status >= 400:
        raise problem(response.status, text, what)
    try:
        return int((json.loads(text) or {}).get("rows", 0))
    except (ValueError, AttributeError):
        raise Error(f"{what}: the server's answer cannot be read") from None
