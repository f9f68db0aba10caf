"""Reading a statement just as far as needed: its ``:name`` parameters and its tables."""

from __future__ import annotations

import re

# What is skipped, then what is looked for, as internal/query/text.go has it: the
# server has the last word. A string that is not closed goes to the end.
_TOKEN = re.compile(
    r"""
      (?<!\w)[Ee]'(?:[^'\\]|\\.|'')*(?:'|\Z)   # a text with escapes
    | '(?:[^']|'')*(?:'|\Z)             # a text
    | `(?:[^`]|``)*(?:`|\Z)             # a quoted name of Spark
    | "(?:[^"]|"")*(?:"|\Z)             # a quoted name
    | (?<!\w)\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)   # a text of PostgreSQL and DuckDB
    | --[^\n]*                          # a comment to the end of its line
    | /\*.*?(?:\*/|\Z)                  # a comment
    | ::                                # a cast
    | (?<![\w\])'"`$:]):(?P<name>[^\W\d]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


def names(statement: str) -> list[str]:
    """Return the names that stand as ``:name`` in a statement, in their order, each once."""
    found = (match.group("name") for match in _TOKEN.finditer(statement))
    return list(dict.fromkeys(name for name in found if name))


_TABLE = re.compile(r'\b(?:from|join|into|update|table|describe)\s+((?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+)){0,2})', re.IGNORECASE)


def tables(statement: str) -> list[str]:
    """Return the names of tables that a statement, complete or not, seems to use."""
    found = (match.group(1).replace('"', "") for match in _TABLE.finditer(statement))
    return list(dict.fromkeys(found))
