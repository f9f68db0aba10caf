"""Lists that show themselves as tables."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from ._display import MAX_ROWS, TABLE_MIME, plain

T = TypeVar("T")
SHOWN = 200


class Listing(list[T], Generic[T]):
    """A list of records. It is shown as a table, and ``to_pandas`` makes a frame of it."""

    def __init__(self, items: Iterable[T] = (), columns: tuple[str, ...] = ()) -> None:
        super().__init__(items)
        self._columns = columns

    def _cells(self) -> list[list[str]]:
        return [[_text(getattr(one, name, "")) for name in self._columns] for one in self[:SHOWN]]

    def __repr__(self) -> str:
        if not self._columns:
            return super().__repr__()
        rows = [list(self._columns), *self._cells()]
        widths = [min(max(len(row[i]) for row in rows), 48) for i in range(len(self._columns))]
        lines = ["  ".join(f"{cell[:w]:<{w}}" for cell, w in zip(row, widths)).rstrip() for row in rows]
        if len(self) > SHOWN:
            lines.append(f"... {len(self) - SHOWN} more")
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        rows = [{name: plain(getattr(one, name, None)) for name in self._columns} for one in self[:MAX_ROWS]]
        types = {n: "integer" if any(type(row[n]) is int for row in rows) else "string" for n in self._columns}
        fields = [{"name": name, "type": kind} for name, kind in types.items()]
        resource = {"schema": {"fields": fields}, "data": rows}
        return {TABLE_MIME: resource, "text/html": self._repr_html_(), "text/plain": repr(self)}

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self._columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self._cells()
        )
        more = f"<p>{len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame of the records."""
        from ._arrow import needs

        pandas = needs("pandas", "to_pandas")
        rows = [{f.name: getattr(one, f.name) for f in dataclasses.fields(one) if f.repr} for one in self]  # type: ignore[arg-type]
        return pandas.DataFrame(rows)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
