"""Values that a run leaves for people and programs to compare."""

import datetime
import json
import math
from typing import Any

from ._display import publish

RECORD_MIME = "application/x-quire-record"
MAX_NAME = 200
MAX_BYTES = 256 * 1024
MAX_DEPTH = 32


def record(name: str, value: Any) -> None:
    """Publish ``value`` under ``name``, for the run's results.

    The value is anything JSON can say. Numbers of NumPy and pandas become plain
    ones, dates become ISO 8601 text, and NaN and the infinities become null. The
    last value recorded under a name wins. The text may be 256 KiB long at most.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError("record: the name must be a text that is not empty")
    if len(name) > MAX_NAME:
        raise ValueError(f"record: the name has {len(name)} characters; {MAX_NAME} are allowed")
    plain = to_json(value, f"record {name!r}")
    size = len(json.dumps(plain).encode())
    if size > MAX_BYTES:
        raise ValueError(
            f"record {name!r}: {size} bytes of JSON; {MAX_BYTES} are allowed. "
            "Write a file, and record its path"
        )
    publish(RECORD_MIME, {"name": name, "value": plain}, f"{name}: {value}"[:1000])


def to_json(value: Any, what: str, depth: int = 0) -> Any:
    """Return ``value`` in the types of JSON, or raise TypeError naming ``what``."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{what}: nested deeper than {MAX_DEPTH}, or it contains itself")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_key(k, what): to_json(v, what, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v, what, depth + 1) for v in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat() if value == value else None  # pandas.NaT is not itself
    for method in ("item", "tolist"):  # NumPy's numbers, then its arrays and pandas' series
        if hasattr(value, method) and hasattr(value, "dtype"):
            try:
                return to_json(getattr(value, method)(), what, depth + 1)
            except ValueError:
                continue
    raise TypeError(f"{what}: JSON has no {type(value).__module__}.{type(value).__qualname__}")


def _key(key: Any, what: str) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, (bool, int, float)):
        return str(key)
    raise TypeError(f"{what}: a name in it is a {type(key).__qualname__}, not a text")
