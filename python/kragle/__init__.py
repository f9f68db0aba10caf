"""kragle: the data platform from a notebook, or from a script with a token.

    import kragle as kg

    df = kg.sql("SELECT device_type, sum(seconds) FROM playback WHERE country = :country GROUP BY 1",
                params={"country": "US"})

and ``%%sql`` in a notebook. Nothing but the standard library is needed to import
it; pandas, polars, pyarrow and pyspark are imported when they are used.
"""

from __future__ import annotations

import sys
from typing import Any

from quire import checkpoint, record, restore, secret, stop

from . import aio
from ._context import connect
from ._errors import Cancelled, Error, NotSignedIn, QueryError, ResultTooLarge, RunFailed
from ._files import File, files
from ._parameters import parameters
from ._query import Query
from ._runs import Run, run, runs
from ._schedule import schedule
from ._spark import spark
from ._sql import Column, Connection, Table, connections, sql, submit, table, tables, write

asql = aio.sql

__all__ = [
    "Cancelled",
    "Column",
    "Connection",
    "Error",
    "File",
    "NotSignedIn",
    "Query",
    "QueryError",
    "ResultTooLarge",
    "Run",
    "RunFailed",
    "Table",
    "aio",
    "asql",
    "checkpoint",
    "connect",
    "connections",
    "files",
    "parameters",
    "record",
    "restore",
    "run",
    "runs",
    "schedule",
    "secret",
    "spark",
    "sql",
    "stop",
    "submit",
    "table",
    "tables",
    "write",
]
__version__ = "0.1.0"


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext kragle``: add the magics. ``import kragle`` in a notebook does it too."""
    from ._magic import register

    register(shell)


def _in_notebook() -> None:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and hasattr(shell, "register_magic_function"):
        load_ipython_extension(shell)


_in_notebook()
