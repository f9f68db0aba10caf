"""The same for asyncio: ``await kg.aio.sql("...")``.

What blocks runs in a thread. A task that is cancelled cancels its statement, and
waits until that has come through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from . import _arrow, _query, _runs, _sql

__all__ = ["connections", "run", "sql", "table", "tables", "write"]


async def sql(
    statement: str,
    to: str = "pandas",
    conn: str | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    max_rows: int | None = None,
    max_age: float | None = None,
    timeout: float | None = None,
) -> Any:
    """``kg.sql`` without blocking. No progress is shown."""
    _query.check_form(to)
    query = _sql._prepared(statement, conn, params, max_rows, max_age, timeout)
    return _arrow.convert(await _waited(query), to)


async def _waited(query: _query.Query) -> Any:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:
            pass  # the loop has ended, and nobody waits

    work = _query.Work(query._whole, after=tell)
    try:
        await done.wait()
    except BaseException:
        await asyncio.shield(asyncio.to_thread(query._abandon, work))
        raise
    return work.value()


async def connections() -> Any:
    """``kg.connections`` without blocking."""
    return await asyncio.to_thread(_sql.connections)


async def tables(conn: str | None = None, search: str = "") -> Any:
    """``kg.tables`` without blocking."""
    return await asyncio.to_thread(_sql.tables, conn, search)


async def table(name: str, conn: str | None = None) -> _sql.Table:
    """``kg.table`` without blocking."""
    return await asyncio.to_thread(_sql.table, name, conn)


async def write(data: Any, name: str, mode: _sql.Mode = "create", conn: str | None = None) -> int:
    """``kg.write`` without blocking."""
    return await asyncio.to_thread(_sql.write, data, name, mode, conn)


async def run(notebook: str, params: Mapping[str, Any] | None = None, *, check: bool = True, **more: Any) -> _runs.Run:
    """``kg.run`` without blocking. A task that is cancelled leaves the run to itself."""
    started = await asyncio.to_thread(_runs.run, notebook, params, wait=False, **more)
    pause = _runs.POLL[0]
    while not (await asyncio.to_thread(started.refresh)).done:
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _runs.POLL[1])
    return await asyncio.to_thread(started.wait, None, False, check)
