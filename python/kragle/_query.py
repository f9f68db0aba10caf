"""One statement: sent to the gateway, followed, fetched, cancelled."""

from __future__ import annotations

import datetime
import decimal
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import _arrow, _progress
from ._errors import Cancelled, Error, QueryError, ResultTooLarge
from ._http import ARROW, Client, Response, position

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = ("pandas", "polars", "arrow", "spark")
POLL_SECONDS, SLOW_SECONDS = 0.4, 3.0
QUIET_SECONDS = 0.7
CANCEL_SECONDS = 10.0
MAX_STATEMENT = 1 << 20


class Query:
    """A statement that the gateway was given, as ``kg.submit`` returns it."""

    def __init__(self, client: Client, statement: str, body: dict[str, Any], first_line: int = 1) -> None:
        self.id = ""
        self.statement = statement
        self._client, self._body, self._first_line = client, body, first_line
        self._info: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._response: Response | None = None
        self._stopped = False
        self._table: Any = None
        self.fetched_bytes = 0

    def __repr__(self) -> str:
        return f"<kragle.Query {self.id or 'not sent'}: {self._info.get('state', 'queued')}>"

    @property
    def state(self) -> str:
        """queued, running, succeeded, failed or cancelled, as the server says now."""
        return str(self.refresh().get("state", ""))

    @property
    def info(self) -> dict[str, Any]:
        """What the server said last of this query."""
        return self._info

    def refresh(self, wait: float = 0) -> dict[str, Any]:
        """Ask the server, which answers at a change or after ``wait`` seconds."""
        query = {"wait": f"{wait:g}"} if wait else None
        self._info = self._client.json("GET", f"/api/queries/{self.id}", query=query) or {}
        return self._info

    def cancel(self) -> None:
        """Stop the statement, also in the engine. It is no error when it is over already."""
        with self._lock:
            self._stopped = True
            known, response = self.id, self._response
        if known:
            try:
                self._client.json("POST", f"/api/queries/{known}/cancel")
            except Error as error:
                if error.kind not in ("conflict", "not found"):
                    raise
            finally:
                if response is not None:
                    response.hang_up()

    def submit(self) -> Query:
        """Send the statement; return this query."""
        try:
            info = self._client.json("POST", "/api/queries", self._body) or {}
        except Error as error:
            raise self._of(error) from None
        with self._lock:
            self._info, self.id = info, str(info["id"])
            stopped = self._stopped
        if stopped:
            self.cancel()
        return self

    def arrow(self) -> pa.Table:
        """Fetch the result as an Arrow table. Only this thread waits."""
        if self._table is None:
            self._table = self._fetch()
        return self._table

    def result(self, to: str = "pandas", progress: bool = True) -> Any:
        """Wait for the result and return it in the form that ``to`` names.

        An interrupt (Ctrl-C, the notebook's stop button) cancels the statement.
        """
        check_form(to)
        table = self._waited(progress)
        self._table = table if to == "arrow" else None  # pandas takes its memory over
        return _arrow.convert(table, to)

    def _waited(self, progress: bool) -> pa.Table:
        work = Work(self._whole)
        shown = _progress.Progress(enabled=progress, title=str(self._body.get("connection") or "sql"))
        began = time.monotonic()
        try:
            seconds = 0.0
            while not work.done.wait(min(POLL_SECONDS + seconds / 20, SLOW_SECONDS)):
                seconds = time.monotonic() - began
                if progress and self.id and seconds > QUIET_SECONDS:
                    shown.update(self._progress(seconds))
        except BaseException:
            self._abandon(work)
            raise
        finally:
            shown.close(ok=work.done.is_set() and work.error is None)
        return work.value()

    def _whole(self) -> pa.Table:
        if not self.id:
            self.submit()
        return self.arrow()

    def _abandon(self, work: Work) -> None:
        """Cancel what nobody waits for any more, and wait until that has come through."""
        try:
            self.cancel()
        except Error:
            pass  # the interrupt matters more than a server that is gone
        work.done.wait(CANCEL_SECONDS)

    def _progress(self, seconds: float) -> _progress.State:
        try:
            said = self.refresh().get("progress") or {}
        except Error:
            said = {}
        fraction, state = said.get("fraction"), str(self._info.get("state") or "")
        if state == "succeeded":  # the engine is done, the rows are on their way
            fraction, state = None, "fetching"
        return _progress.State(
            fraction=float(fraction) if isinstance(fraction, (int, float)) else None,
            seconds=seconds,
            rows=int(said.get("rows") or 0),
            bytes=max(int(said.get("bytes") or 0), self.fetched_bytes),
            message=str(said.get("message") or state),
        )

    def _fetch(self) -> pa.Table:
        source: _arrow.Source | None = None
        try:
            response = self._client.stream("GET", f"/api/queries/{self.id}/result", accept=ARROW, wait=None)
            with self._lock:
                self._response = response
                stopped = self._stopped
            if stopped:
                response.hang_up()
            source = _arrow.Source(response, self)
            try:
                return source.empty() if response.status == 204 else source.table()
            finally:
                response.close()
                with self._lock:
                    self._response = None
        except _arrow.TooLarge as error:
            self.cancel()
            raise ResultTooLarge(str(error), "too large", statement=self.statement, query=self.id) from None
        except (Error, OSError, _arrow.Broken) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> Error:
        """Return why the result did not come: what the server says of the query, if it says so."""
        try:
            info = self.refresh(wait=2)
        except Error:
            info = {}
        said = info.get("error") or {}
        if info.get("state") == "cancelled" or (self._stopped and not said):
            text = str(said.get("detail") or "the statement was cancelled")
            return Cancelled(text, "canceled", statement=self.statement, query=self.id)
        if said:
            line, column = position(said)
            text, kind = str(said.get("detail") or said.get("title") or "the statement failed"), said.get("reason")
            return self._error(text, line, column, str(kind or "invalid"))
        if isinstance(error, Error):
            return self._of(error)
        return self._error(f"the result broke off: {error}. Run the statement again", 0, 0, "unavailable")

    def _of(self, error: Error) -> Error:
        if error.kind in ("denied", "unavailable", "internal") and error.position == (0, 0):
            return error
        return self._error(str(error), *error.position, kind=error.kind)

    def _error(self, text: str, line: int, column: int, kind: str = "invalid") -> QueryError:
        return QueryError(
            text,
            kind,
            statement=self.statement,
            line=line,
            column=column,
            first_line=self._first_line,
            query=self.id,
        )


class Work:
    """A function that runs in a thread of its own, so that waiting for it can be interrupted."""

    def __init__(self, function: Callable[[], Any], after: Callable[[], None] | None = None) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self._value: Any = None
        self._function, self._after = function, after
        threading.Thread(target=self._run, name="kragle", daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # it is raised again in value
            self.error = error
        finally:
            self.done.set()
            if self._after is not None:
                self._after()

    def value(self) -> Any:
        """Return what the function returned, once; or raise what it raised."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error.with_traceback(None)
        value, self._value = self._value, None
        return value


def check_form(to: str) -> None:
    """Refuse a form that does not exist, before anything runs."""
    if to not in FORMS:
        raise ValueError(f"to={to!r}: want one of {', '.join(FORMS)}")


def body_of(
    statement: str,
    conn: str | None,
    params: Mapping[str, Any] | None,
    context: dict[str, str],
    max_rows: int | None,
    max_age: float | None,
    timeout: float | None,
) -> dict[str, Any]:
    """Return what is sent for a statement; raise on what cannot be sent."""
    if not isinstance(statement, str):
        raise TypeError(f"sql: the statement is a {type(statement).__name__}, not a text")
    if not statement.strip():
        raise QueryError("there is no statement: the text is empty")
    if len(statement.encode()) > MAX_STATEMENT:
        raise QueryError(f"the statement is longer than {MAX_STATEMENT} bytes: write the values to a table first")
    body: dict[str, Any] = {"statement": statement, **context}
    if conn is not None:
        body["connection"] = conn
    if params:
        body["parameters"] = {name: bound(value, name) for name, value in params.items()}
    for name, value in (("maxRows", max_rows), ("maxAge", max_age), ("timeoutSeconds", timeout)):
        if value is not None:
            if value < 0:
                raise ValueError(f"{name}: {value} is below 0")
            body[name] = math.ceil(value)
    return body


_LARGEST = 1 << 63


def bound(value: Any, name: str, depth: int = 0) -> Any:
    """Return a Python value as the gateway takes it: JSON, or {"type": ..., "value": ...}."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if -_LARGEST <= value < _LARGEST:
            return int(value)
        return {"type": "decimal", "value": str(int(value))}
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return {"type": "float", "value": str(float(value))}
        return float(value)
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise ValueError(f"parameter {name!r}: {value} is no decimal number")
        return {"type": "decimal", "value": format(value, "f")}
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas
        return None
    if isinstance(value, datetime.datetime):
        return {"type": "timestamp", "value": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"type": "date", "value": value.isoformat()}
    if isinstance(value, (bytes, bytearray, memoryview)):
        from ._http import encoded

        return {"type": "bytes", "value": encoded(bytes(value))}
    return _bound_many(value, name, depth)


def _bound_many(value: Any, name: str, depth: int) -> Any:
    if depth == 0 and isinstance(value, (list, tuple, set, frozenset, range)):
        return [bound(one, name, 1) for one in value]
    if type(value).__name__ == "datetime64" and hasattr(value, "astype"):
        return bound(value.astype("datetime64[us]").item(), name, depth)
    for method in ("item", "tolist", "to_list"):  # NumPy's scalars; arrays; series of pandas and polars
        convert = getattr(value, method, None)
        if callable(convert):
            if method == "item" and getattr(value, "ndim", 1 if hasattr(value, "__len__") else 0) != 0:
                continue
            return bound(convert(), name, depth)
    raise TypeError(
        f"parameter {name!r}: a {type(value).__name__} cannot be bound. "
        "Numbers, texts, dates, timestamps, decimals, bytes, None and lists of them can"
    )
