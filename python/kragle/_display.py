"""How a result is shown: for data explorers, as an HTML table, and as text."""

from __future__ import annotations

import datetime
import decimal
import html
import math
import weakref
from dataclasses import dataclass
from typing import Any

TABLE_MIME = "application/vnd.dataresource+json"
MAX_ROWS = 1000
MAX_COLUMNS = 200
MAX_CELL = 2000
MAX_TEXT = 1 << 20
SAFE_INTEGER = 1 << 53


@dataclass
class Shown:
    """What is said of a result."""

    seconds: float = 0.0
    connection: str = ""
    cached: str = ""
    truncated: bool = False


# The frames that %sql returned, by identity: only they are shown in this way, and
# the frames of the notebook as their library shows them.
_ours: dict[int, weakref.ref[Any]] = {}


def mark(frame: Any) -> Any:
    """Remember a frame as a result of ours; return it."""
    key = id(frame)
    _ours[key] = weakref.ref(frame, lambda _: _ours.pop(key, None))
    return frame


def bundle(frame: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The formatter of IPython: what a frame of ours shows; None for all others."""
    known = _ours.get(id(frame))
    if frame is None or known is None or known() is not frame:
        return None
    resource = _resource(frame)
    if resource is None:
        return None
    as_html = getattr(frame, "_repr_html_", None)
    table = as_html() if as_html is not None else f"<pre>{html.escape(repr(frame))}</pre>"
    return {TABLE_MIME: resource, "text/html": table, "text/plain": repr(frame)}, {}


def note(frame: Any, shown: Shown) -> str:
    """The line above a result: how large it is, how much of it is shown, where it is from."""
    rows, columns = _shape(frame)
    parts = [f"{rows:,} row{'s' if rows != 1 else ''} × {columns:,} column{'s' if columns != 1 else ''}"]
    if rows > MAX_ROWS:
        parts.append(f"a table shows the first {MAX_ROWS:,}")
    if shown.truncated:
        parts.append("the statement gave more: it was ended at max-rows")
    if shown.cached:
        parts.append(f"kept from {shown.cached}")
    parts.append(f"{shown.seconds:.2f} s")
    if shown.connection:
        parts.append(shown.connection)
    return " · ".join(parts)


def _shape(frame: Any) -> tuple[int, int]:
    if type(frame).__module__.startswith("pyarrow"):
        return frame.num_rows, frame.num_columns
    rows, columns = frame.shape
    return rows, columns


def _resource(frame: Any) -> dict[str, Any] | None:
    """The first rows as a table resource; None for a frame that its owner has given another form."""
    module = type(frame).__module__.split(".")[0]
    if module == "pandas":
        if type(frame.index).__name__ != "RangeIndex" or not all(isinstance(name, str) for name in frame.columns):
            return None
        head = frame.iloc[:MAX_ROWS, :MAX_COLUMNS]
        columns = {name: [head[name].iloc[i] for i in range(len(head))] for name in head.columns}
        types = {name: _type_of_pandas(head[name]) for name in head.columns}
    elif module in ("polars", "pyarrow"):
        head = frame[:MAX_ROWS] if module == "polars" else frame.slice(0, MAX_ROWS)
        names = list(head.columns if module == "polars" else head.column_names)[:MAX_COLUMNS]
        columns = {n: (head[n].to_list() if module == "polars" else head.column(n).to_pylist()) for n in names}
        types = {name: _type_of_values(values) for name, values in columns.items()}
    else:
        return None
    return _bounded(columns, types)


def _bounded(columns: dict[str, list[Any]], types: dict[str, str]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    size = 0
    count = max((len(values) for values in columns.values()), default=0)
    for i in range(count):
        row = {name: plain(values[i]) for name, values in columns.items()}
        size += sum(len(value) if isinstance(value, str) else 8 for value in row.values()) + sum(map(len, row))
        if size > MAX_TEXT:
            break
        rows.append(row)
    fields = [{"name": name, "type": types[name]} for name in columns]
    return {"schema": {"fields": fields}, "data": rows}


def _type_of_pandas(column: Any) -> str:
    kind = getattr(column.dtype, "kind", "O")
    known = {"i": "integer", "u": "integer", "f": "number", "b": "boolean", "M": "datetime", "m": "duration"}
    return known.get(kind) or _type_of_values(list(column))


def _type_of_values(values: list[Any]) -> str:
    for value in values:
        if value is None or value != value:
            continue
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, int):
            return "integer"
        if isinstance(value, (float, decimal.Decimal)):
            return "number"
        if isinstance(value, datetime.datetime):
            return "datetime"
        if isinstance(value, datetime.date):
            return "date"
        return "string"
    return "string"


def plain(value: Any, depth: int = 0) -> Any:
    """Return a cell as JSON has it, clipped."""
    if value is None or isinstance(value, (bool, str)):
        return value[:MAX_CELL] if isinstance(value, str) else value
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat() if value == value else None
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[: MAX_CELL // 2]).hex()
    return str(value)[:MAX_CELL]
