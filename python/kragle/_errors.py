"""What can go wrong, as one clear message each."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """An error of kragle: what was being done, to which thing, why, what to do next.

    ``kind`` is the server's word for it: "invalid", "not found", "denied",
    "too large", "timeout", "canceled", "unavailable", "internal", ....
    """

    def __init__(self, message: str, kind: str = "internal", request: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.request = request
        self.position: tuple[int, int] = (0, 0)  # line and column that the server named, from 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message, not the way through this library."""
        return [f"{type(self).__name__}: {self}"]


class NotSignedIn(Error):
    """The server does not know who is asking."""


class QueryError(Error):
    """A statement that did not succeed, with the place in its text where it is known."""

    def __init__(
        self,
        message: str,
        kind: str = "invalid",
        *,
        statement: str = "",
        line: int = 0,
        column: int = 0,
        first_line: int = 1,
        query: str = "",
        request: str = "",
    ) -> None:
        self.message = message
        self.statement = statement
        self.line = line
        self.column = column
        self.query = query
        super().__init__(message + _marked(statement, line, column, first_line), kind, request)


class Cancelled(QueryError):
    """A statement that a person, or this program, has cancelled."""


class ResultTooLarge(QueryError):
    """A result that does not fit in the memory of this process."""


class RunFailed(Error):
    """A run of another notebook that did not succeed; ``run`` is that run."""

    def __init__(self, message: str, run: Any) -> None:
        super().__init__(message, "invalid")
        self.run = run


_WIDEST = 160


def _marked(statement: str, line: int, column: int, first_line: int) -> str:
    """Return the lines around the place with a mark below it; "" where it is not known."""
    lines = statement.splitlines()
    if not 1 <= line <= len(lines):
        return ""
    number = str(line + first_line - 1)
    text, at = _window(lines[line - 1], max(column, 1) - 1)
    out = ["", f"  line {number}" + (f", column {column}" if column > 0 else "")]
    if line > 1:
        before = str(line + first_line - 2)
        out.append(f"  {before:>{len(number)}} | {_window(lines[line - 2], 0)[0]}")
    out.append(f"  {number} | {text}")
    if column > 0:
        out.append(f"  {'':>{len(number)}} | {_blank(text[:at])}^")
    return "\n".join(out)


def _window(text: str, at: int) -> tuple[str, int]:
    """Cut a long line so that the place in it is seen."""
    at = min(at, len(text))
    if len(text) <= _WIDEST:
        return text, at
    start = max(0, min(at - _WIDEST // 2, len(text) - _WIDEST))
    return text[start : start + _WIDEST], at - start


def _blank(text: str) -> str:
    """As many blanks as the text is wide, with its tabs."""
    return "".join("\t" if character == "\t" else " " for character in text)
