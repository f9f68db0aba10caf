"""Completion of tables and columns in %%sql and %sql."""

from __future__ import annotations

import re
import time
from typing import Any

from . import _magic, _statement
from ._errors import Error
from ._sql import describe, identifier, tables

KEEP_SECONDS = 30.0
MAX_DESCRIBED = 5
KEYWORDS = (
    "SELECT FROM WHERE GROUP BY ORDER LIMIT HAVING JOIN LEFT RIGHT INNER OUTER FULL CROSS ON USING AS AND OR NOT IN IS "
    "NULL LIKE BETWEEN CASE WHEN THEN ELSE END DISTINCT UNION ALL WITH CREATE TABLE VIEW INSERT INTO VALUES UPDATE SET "
    "DELETE DROP IF EXISTS DESCRIBE EXPLAIN COUNT SUM AVG MIN MAX CAST DATE INTERVAL OVER PARTITION"
).split()
_FRAGMENT = re.compile(r"[\w.:]*\Z")
_kept: dict[tuple[str, str], tuple[float, Any]] = {}


def candidates(text: str, cursor: int, space: dict[str, Any]) -> tuple[str, list[tuple[str, str]]] | None:
    """Return what is being typed, and (text, kind) of what it may become; None where it is no SQL."""
    if text.startswith("%%sql"):
        line, _, body = text[5:].partition("\n")
        start = len(text) - len(body)
        if cursor < start:
            return None
        conn = _connection(line, cell=True)
        before, whole = body[: cursor - start], body
    else:
        begin = text.rfind("\n", 0, cursor) + 1
        line = text[begin : text.find("\n", cursor) if "\n" in text[cursor:] else len(text)]
        found = re.match(r"\s*(?:\w+\s*=\s*)?%sql\s", line)
        if found is None or cursor - begin < found.end():
            return None
        conn = _connection(line[found.end() :], cell=False)
        before, whole = line[found.end() : cursor - begin], line[found.end() :]
    fragment = _fragment(before)
    return fragment, _matching(fragment, before, whole, conn, space)


def _connection(line: str, cell: bool) -> str | None:
    try:
        return _magic.parse_cell(line).conn if cell else _magic.parse(line)[0].conn
    except Error:
        return None


def _fragment(before: str) -> str:
    found = _FRAGMENT.search(before)
    return found.group(0) if found else ""


def _matching(
    fragment: str, before: str, whole: str, conn: str | None, space: dict[str, Any]
) -> list[tuple[str, str]]:
    if fragment.startswith(":"):
        names = [name for name in space if not name.startswith("_") and name.startswith(fragment[1:])]
        return [(":" + name, "variable") for name in sorted(names)]
    known = _tables(conn)
    prefix, _, word = fragment.rpartition(".")
    found: list[tuple[str, str]] = []
    if prefix:
        owner = _aliases(whole).get(prefix.lower(), prefix)
        found += [(f"{prefix}.{identifier(name)}", "column") for name in _columns(owner, conn, known)]
        found += [(f"{prefix}.{identifier(t)}", "table") for s, t in known if s.lower() == prefix.lower()]
    else:
        after_from = re.search(r"\b(?:from|join|into|table|update|describe)\s+\Z", before[: len(before) - len(word)], re.I)
        if not after_from:
            for used in _statement.tables(whole)[:MAX_DESCRIBED]:
                found += [(identifier(name), "column") for name in _columns(used, conn, known)]
        found += [(identifier(name), "table") for _, name in known]
        if word:
            found += [(key if word.isupper() else key.lower(), "keyword") for key in KEYWORDS]
    lower = fragment.lower()
    return list(dict.fromkeys(one for one in found if one[0].lower().replace('"', "").startswith(lower)))


_ALIAS = re.compile(r'\b(?:from|join)\s+((?:"[^"]+"|[\w.])+)\s+(?:as\s+)?(?!on\b|where\b|join\b|left\b|group\b|order\b|using\b)(\w+)', re.I)


def _aliases(statement: str) -> dict[str, str]:
    return {alias.lower(): name.replace('"', "") for name, alias in _ALIAS.findall(statement)}


def _tables(conn: str | None) -> list[tuple[str, str]]:
    return _cached((conn or "", ""), lambda: [(one.schema, one.name) for one in tables(conn)]) or []


def _columns(name: str, conn: str | None, known: list[tuple[str, str]]) -> list[str]:
    if name.split(".")[-1].lower() not in {table.lower() for _, table in known}:
        return []
    said = _cached((conn or "", name), lambda: describe(name, conn)) or {}
    return [str(one.get("name", "")) for one in said.get("columns") or [] if one.get("name")]


def _cached(key: tuple[str, str], ask: Any) -> Any:
    now = time.monotonic()
    found = _kept.get(key)
    if found is not None and now - found[0] < KEEP_SECONDS:
        return found[1]
    try:
        value = ask()
    except Error:
        value = None  # completion is never an error
    if len(_kept) > 500:
        _kept.clear()
    _kept[key] = (now, value)
    return value


def register(shell: Any) -> None:
    """Add the completion to an IPython shell."""
    completer = getattr(shell, "Completer", None)
    if completer is None:
        return
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher()  # type: ignore[untyped-decorator,unused-ignore]
    def kragle_sql(context: Any) -> dict[str, Any]:
        lines = context.full_text.split("\n")
        at = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        found = candidates(context.full_text, at, shell.user_ns)
        if found is None:
            return {"completions": []}
        fragment, all_of = found
        return {
            "completions": [SimpleCompletion(text=text, type=kind) for text, kind in all_of],
            "matched_fragment": fragment,
            "ordered": True,
            "suppress": True,
        }

    completer.custom_matchers[:] = [m for m in completer.custom_matchers if getattr(m, "__name__", "") != "kragle_sql"]
    completer.custom_matchers.append(kragle_sql)
