"""Arrow streams in and out, and the data frames that are made of them.

pyarrow, pandas, polars and pyspark are imported when they are used, never before.
"""

from __future__ import annotations

import http.client
import importlib
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._errors import Error
from ._http import Response

if TYPE_CHECKING:
    import pyarrow as pa

EOS = b"\xff\xff\xff\xff\x00\x00\x00\x00"
MINIMUM = 64 << 20


class TooLarge(Exception):
    """The stream is larger than the memory that may be used for it."""


class Broken(Exception):
    """The stream ended before its end."""


def needs(module: str, what: str) -> Any:
    """Import a package that kragle itself does not need."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.split(".")[0]
        raise Error(f"{what} needs {package}, which is not installed here: pip install {package}", "invalid") from None


class Source(io.RawIOBase):
    """The body of an answer, as pyarrow reads it: each buffer is filled once and never copied."""

    def __init__(self, response: Response, counter: Any, limit: int | None = None) -> None:
        super().__init__()
        self._pa = needs("pyarrow", "a result")
        needs("pyarrow.ipc", "a result")
        self._response, self._counter = response, counter
        self._limit = memory_limit() if limit is None else limit
        self._read = 0
        self._tail = b""
        self._fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> Any:
        """Return the next ``size`` bytes as a buffer; fewer at the end only."""
        if size < 0:
            raise Broken("its form is not that of an Arrow stream")
        self._read += size
        if self._read > self._limit:
            self._fault = TooLarge(
                f"the result is larger than {_size(self._limit)}, what this process has memory for: aggregate it, "
                "add a LIMIT, or keep it where it is with CREATE TABLE ... AS"
            )
            raise self._fault
        buffer = self._pa.allocate_buffer(size)
        view = memoryview(buffer).cast("B")
        filled = self._fill(view)
        self._counter.fetched_bytes = self._read
        if filled < size:
            buffer = buffer.slice(0, filled)
        if size <= 8:
            self._tail = (self._tail + bytes(view[:filled]))[-8:]
        else:
            self._tail = b""
        return buffer

    def _fill(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view):
            try:
                got = self._response.raw.readinto(view[filled:])
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                # http.client says IncompleteRead; a response that another thread closed, the others
                self._fault = Broken("the connection ended before the result did")
                raise self._fault from error
            if not got:
                break
            filled += got
        return filled

    def empty(self) -> pa.Table:
        """The result of a statement that has none."""
        return self._pa.table({})

    def table(self) -> pa.Table:
        """Read the stream to its end."""
        try:
            with self._pa.ipc.open_stream(self._pa.PythonFile(self, mode="r")) as reader:
                table = reader.read_all()
        except (self._pa.ArrowException, OSError, Broken, TooLarge) as error:
            raise self._fault or Broken(f"its form is not that of an Arrow stream ({error})") from None
        if self._tail != EOS:  # Arrow takes the end of a connection for the end of a stream
            raise self._fault or Broken("the connection ended before the result did")
        if self._fill(memoryview(bytearray(1))):  # the body ends when the statement has, and is recorded
            raise Broken("something follows the end of its Arrow stream")
        return table


def memory_limit() -> int:
    """Return how many bytes of Arrow data this process may take: half of what is free."""
    free = [value for value in (_available(), _cgroup()) if value is not None]
    return max(min(free) // 2, MINIMUM) if free else 4 << 30


def _available() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _cgroup() -> int | None:
    """What the container, if this is one, leaves."""
    try:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            path = next((line[3:].strip() for line in file if line.startswith("0::")), "/")
    except OSError:
        return None
    least: int | None = None
    while True:
        folder = "/sys/fs/cgroup" + path.rstrip("/")
        limit, used = _number(os.path.join(folder, "memory.max")), _number(os.path.join(folder, "memory.current"))
        if limit is not None and used is not None:
            least = min(least if least is not None else limit, max(limit - used, 0))
        if path in ("", "/"):
            return least
        path = os.path.dirname(path)


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None  # "max" is no number


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return ""


def convert(table: pa.Table, to: str) -> Any:
    """Return the table in a form of ``kg.sql``. A pandas frame takes its memory over."""
    if to == "arrow":
        return table
    if to == "polars":
        return needs("polars", 'to="polars"').from_arrow(table)
    if to == "spark":
        from ._spark import from_arrow

        return from_arrow(table)
    return to_pandas(table)


def to_pandas(table: pa.Table) -> Any:
    """Return a pandas DataFrame: dates as datetime64, decimals as numbers."""
    needs("pandas", 'to="pandas"')
    if len(set(table.column_names)) < len(table.column_names):
        table = table.rename_columns(unique(table.column_names))
    table = _plain_numbers(table)
    return table.to_pandas(date_as_object=False, split_blocks=True, self_destruct=True)


def unique(names: list[str]) -> list[str]:
    """Give columns of the same name numbers: a, a_1, a_2."""
    taken, out = set(names), []
    seen: set[str] = set()
    for name in names:
        new, number = name, 0
        while new in seen or (number and new in taken):
            number += 1
            new = f"{name}_{number}"
        seen.add(new)
        out.append(new)
    return out


def _plain_numbers(table: pa.Table) -> pa.Table:
    """Decimals become int64 where they are whole and fit, else float64; DuckDB's own frames do the same."""
    pa = importlib.import_module("pyarrow")
    for index, field in enumerate(table.schema):
        if not pa.types.is_decimal(field.type):
            continue
        column = table.column(index)
        wanted = [pa.int64(), pa.float64()] if field.type.scale == 0 else [pa.float64()]
        for kind in wanted:
            try:
                table = table.set_column(index, field.name, column.cast(kind))
                break
            except pa.ArrowInvalid:
                continue
    return table


def reader_of(data: Any, what: str) -> Any:
    """Return a RecordBatchReader over a frame of any kind, or a dictionary of columns."""
    pa = needs("pyarrow", what)
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if type(data).__module__.startswith("pandas.") and type(data).__name__ == "DataFrame":
        names = [str(name) for name in data.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"{what}: two columns have the same name")
        keep = data.index.name is not None or getattr(data.index, "nlevels", 1) > 1
        data = pa.Table.from_pandas(data, preserve_index=keep).replace_schema_metadata()
    elif type(data).__module__.startswith("pyspark.") and hasattr(data, "toArrow"):
        data = data.toArrow()
    elif isinstance(data, dict):
        data = pa.table(data)
    elif isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        data = pa.Table.from_pylist(data)
    if isinstance(data, pa.Table):
        return data.to_reader(max_chunksize=1 << 16)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    raise TypeError(
        f"{what}: a {type(data).__name__} is no table. Data frames of pandas, polars and Spark are, Arrow tables, "
        "a dictionary of columns, and a list of dictionaries"
    )


def stream_of(reader: Any) -> Iterator[bytes]:
    """Yield the bytes of an Arrow IPC stream, a batch at a time."""
    pa = importlib.import_module("pyarrow")
    ipc = importlib.import_module("pyarrow.ipc")
    sink = io.BytesIO()
    with ipc.new_stream(pa.PythonFile(sink, mode="w"), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            if sink.tell():
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
    yield sink.getvalue()
