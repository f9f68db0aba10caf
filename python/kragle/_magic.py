"""``%%sql`` and ``%sql``, and the completion of tables and columns in them."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, field
from typing import Any

from . import _display, _query, _statement
from ._context import client, links
from ._errors import Error, QueryError

USAGE = """%%sql [CONNECTION] [options]    a statement in the cell below
%sql [options] STATEMENT        a statement on the line

  -c, --conn NAME      the connection; without it the default one (kg.connections() lists them)
  -o, --out NAME       keep the result in this variable
  --to FORM            pandas (when nothing is said), polars, arrow or spark
  --max-rows N         end the result after N rows
  --max-age SECONDS    a result that the server has kept for so long will do
  --timeout SECONDS    cancel the statement after so long
  -q, --quiet          do not show the result
  --no-progress        no progress bar
  --jinja              the text is a Jinja template; off unless asked for: its values become text

:name in the statement takes the value of the variable, bound by the engine."""


@dataclass
class Options:
    """What stands on the line of a magic."""

    conn: str | None = None
    out: str = ""
    to: str = "pandas"
    max_rows: int | None = None
    max_age: float | None = None
    timeout: float | None = None
    quiet: bool = False
    progress: bool = True
    jinja: bool = False
    help: bool = False
    rest: list[str] = field(default_factory=list)


class UsageError(Error):
    """A magic that was called in a way that it does not know."""


_FLAGS = {
    "-q": ("quiet", True),
    "--quiet": ("quiet", True),
    "--no-progress": ("progress", False),
    "--jinja": ("jinja", True),
    "-h": ("help", True),
    "--help": ("help", True),
}
_VALUES = {
    "-c": ("conn", str),
    "--conn": ("conn", str),
    "-o": ("out", str),
    "--out": ("out", str),
    "--to": ("to", str),
    "--max-rows": ("max_rows", int),
    "--max-age": ("max_age", float),
    "--timeout": ("timeout", float),
}
_OPTION = re.compile(r"\s*(--?[a-z][a-z-]*)(?:=|(?=\s)|\Z)")
_WORD = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|\S+)""")


def parse(line: str) -> tuple[Options, str]:
    """Read the options at the start of a line; return them, and what comes after them."""
    options = Options()
    while True:
        found = _OPTION.match(line)
        if found is None:
            break
        name, line = found.group(1), line[found.end() :]
        if name in _FLAGS:
            setattr(options, *_FLAGS[name])
        elif name in _VALUES:
            word = _WORD.match(line)
            if word is None:
                raise UsageError(f"%sql {name}: its value is missing\n\n{USAGE}", "invalid")
            line = line[word.end() :]
            _set(options, name, shlex.split(word.group(1))[0] if word.group(1)[0] in "\"'" else word.group(1))
        else:
            raise UsageError(f"%sql: there is no option {name}\n\n{USAGE}", "invalid")
    return options, line.strip()


def _set(options: Options, name: str, text: str) -> None:
    attribute, kind = _VALUES[name]
    try:
        value = kind(text)
    except ValueError:
        raise UsageError(f"%sql {name} {text}: want a number", "invalid") from None
    if attribute == "out" and not text.isidentifier():
        raise UsageError(f"%sql {name} {text}: want the name of a variable", "invalid")
    if attribute == "to" and text not in _query.FORMS:
        raise UsageError(f"%sql --to {text}: want one of {', '.join(_query.FORMS)}", "invalid")
    setattr(options, attribute, value)


def parse_cell(line: str) -> Options:
    """Read the line of ``%%sql``: options, and one word that is the connection."""
    options, rest = parse(line)
    while rest:
        word = _WORD.match(rest)
        assert word is not None
        if options.conn is not None:
            raise UsageError(f"%%sql: {rest!r} is one word too many; the statement is below the line\n\n{USAGE}", "invalid")
        options.conn = word.group(1)
        more, rest = parse(rest[word.end() :])
        for name, value in vars(more).items():
            if value != getattr(Options(), name):
                setattr(options, name, value)
        if more.conn is not None:
            raise UsageError("%%sql: two connections are named", "invalid")
    return options


def run(shell: Any, options: Options, statement: str, space: dict[str, Any], first_line: int) -> Any:
    """Run a statement of a cell; return the frame to show, None when there is nothing to."""
    if options.help or (not statement.strip() and first_line == 1):
        print(USAGE)
        return None
    if options.jinja:
        statement = _rendered(statement, space)
    params = {name: space[name] for name in _statement.names(statement) if name in space}
    body = _query.body_of(
        statement, options.conn, params, links(), options.max_rows, options.max_age, options.timeout
    )
    query = _query.Query(client(), statement, body, first_line)
    began = time.monotonic()
    frame = query.result(options.to, options.progress)
    seconds = time.monotonic() - began
    info = query.refresh()
    if options.out:
        shell.user_ns[options.out] = frame
    if not _has_rows(frame, info):
        if not options.quiet:
            print(_done(info, seconds))
        return None
    shown = _display.Shown(
        seconds,
        str(info.get("connection") or options.conn or ""),
        str((info.get("cached") or {}).get("at") or ""),
        bool(info.get("truncated")),
    )
    if options.quiet:
        return None
    if options.to != "spark":
        print(_display.note(frame, shown))
        _display.mark(frame)
    return frame


def _has_rows(frame: Any, info: dict[str, Any]) -> bool:
    """Is there a table to show? A statement that changes something gives a count instead."""
    if info.get("hasResult") is False:
        return False
    names: Any = getattr(frame, "column_names", None)
    return len(frame.columns if names is None else names) > 0


def _done(info: dict[str, Any], seconds: float) -> str:
    affected = info.get("affected")
    parts = ["done"]
    if isinstance(affected, int) and affected >= 0:
        parts.append(f"{affected:,} row{'s' if affected != 1 else ''}")
    parts.append(f"{seconds:.2f} s")
    if info.get("connection"):
        parts.append(str(info["connection"]))
    return " · ".join(parts)


def _rendered(statement: str, space: dict[str, Any]) -> str:
    from ._arrow import needs

    sandbox, jinja2 = needs("jinja2.sandbox", "--jinja"), needs("jinja2", "--jinja")
    environment = sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    public = {name: value for name, value in space.items() if not name.startswith("_")}
    try:
        return str(environment.from_string(statement).render(public))
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None) or 0
        raise QueryError(f"--jinja: {error}", statement=statement, line=line) from None


def register(shell: Any) -> None:
    """Add the magics, the display of results and the completion to an IPython shell."""
    from IPython.core.magic import needs_local_scope, no_var_expand

    @no_var_expand  # {x} and $x are the statement's own
    @needs_local_scope
    def sql(line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        space = {**shell.user_ns, **(local_ns or {})}
        if cell is None:
            options, statement = parse(line)
            return run(shell, options, statement, space, 1)
        return run(shell, parse_cell(line), cell.rstrip("\n"), space, 2)

    sql.__doc__ = USAGE
    shell.register_magic_function(sql, "line_cell", "sql")
    for module, name in (("pandas", "DataFrame"), ("polars.dataframe.frame", "DataFrame"), ("pyarrow.lib", "Table")):
        shell.display_formatter.mimebundle_formatter.for_type_by_name(module, name, _display.bundle)
    from ._complete import register as register_completion

    register_completion(shell)
