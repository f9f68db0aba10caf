"""How far a statement or a run is, in a notebook and in a terminal."""

from __future__ import annotations

import html
import importlib
import sys
import time
from dataclasses import dataclass
from typing import Any, TextIO

WIDTH = 30


@dataclass
class State:
    """What is known of a piece of work."""

    fraction: float | None = None
    seconds: float = 0.0
    rows: int = 0
    bytes: int = 0
    message: str = ""

    def words(self) -> str:
        parts = []
        if self.fraction is not None:
            parts.append(f"{min(max(self.fraction, 0), 1):.0%}")
        if self.message:
            parts.append(" ".join(self.message.split())[:80])
        if self.rows:
            parts.append(f"{self.rows:,} rows")
        if self.bytes >= 1_000_000:
            parts.append(f"{self.bytes / 1e6:,.0f} MB")
        parts.append(f"{self.seconds:.0f} s")
        return " · ".join(parts)


class Progress:
    """A bar that moves while work goes on, and is replaced by one line when it ends.

    In a notebook it is a display that changes; on a terminal a line of standard
    error that is written over; elsewhere (a pipe, a log) it is nothing.
    """

    def __init__(self, enabled: bool = True, title: str = "", stream: TextIO | None = None) -> None:
        self._title, self._width = title, 0
        self._handle: Any = None
        self._last: State | None = None
        self._began = time.monotonic()
        self._stream = stream if stream is not None else sys.stderr
        self._shell = _shell() if enabled else None
        notebook = self._shell is not None and hasattr(self._shell, "kernel")
        self._notebook = enabled and notebook
        self._terminal = enabled and not notebook and bool(getattr(self._stream, "isatty", lambda: False)())

    def update(self, state: State) -> None:
        """Show how far it is."""
        self._last = state
        if self._notebook:
            self._display({"text/html": self._html(state), "text/plain": f"{self._title}: {state.words()}"})
        elif self._terminal:
            line = f"{_bar(state)} {self._title}: {state.words()}"
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._width = len(line)

    def close(self, ok: bool = True) -> None:
        """Leave a line that says how long it took, if there was anything to see."""
        if self._last is None:
            return
        self._last, seconds = None, time.monotonic() - self._began
        if self._terminal:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
        elif self._notebook:
            text = f"{self._title}: {'done' if ok else 'stopped'} after {seconds:.0f} s"
            self._display({"text/html": f"<small>{html.escape(text)}</small>", "text/plain": text})

    def _html(self, state: State) -> str:
        value = "" if state.fraction is None else f' value="{min(max(state.fraction, 0), 1):.3f}"'
        words = html.escape(f"{self._title}: {state.words()}")
        return f'<progress max="1"{value} aria-label="{words}"></progress> <small>{words}</small>'

    def _display(self, bundle: dict[str, str]) -> None:
        if self._handle is None:
            show: Any = importlib.import_module("IPython.display").display
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _bar(state: State) -> str:
    if state.fraction is None:
        at = int(state.seconds * 4) % WIDTH
        return "[" + "".join("=" if i == at else " " for i in range(WIDTH)) + "]"
    done = round(min(max(state.fraction, 0), 1) * WIDTH)
    return "[" + "=" * done + " " * (WIDTH - done) + "]"


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
