"""Which server, and which notebook or run this process belongs to."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from ._errors import Error
from ._http import Client

_default = Client()


def connect(url: str | None = None, token: str | None = None) -> None:
    """Say which server to use from now on. Without it: QUIRE_URL and QUIRE_TOKEN.

    Kernels that Quire starts have both; a script elsewhere sets them, or calls this.
    """
    global _default
    _default = Client(url, token)


def client() -> Client:
    """Return the client of this process."""
    return _default


def notebook() -> str:
    """Return the path of this notebook on the volume, "" where it is not known."""
    return os.environ.get("QUIRE_NOTEBOOK", "").strip("/")


def run_id() -> str:
    """Return the id of the run that this is, "" in an interactive session."""
    return os.environ.get("QUIRE_RUN", "")


def user() -> str:
    """Return the name of the person whose token this is, "" where it is not known."""
    name = os.environ.get("QUIRE_USER", "")
    if name:
        return name
    parts = notebook().split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "users" else ""


def links() -> dict[str, str]:
    """Return what a statement's record says of where it came from."""
    found = {"notebook": notebook(), "run": run_id(), "cell": _cell()}
    return {name: value for name, value in found.items() if value}


def _cell() -> str:
    """The id of the cell that runs now, where the client of the kernel says it."""
    from ._progress import _shell

    shell: Any = _shell()
    try:
        parent = shell.get_parent() if shell is not None and hasattr(shell, "get_parent") else {}
        found = (parent.get("metadata") or {}).get("cellId") if isinstance(parent, dict) else ""
    except Exception:  # a kernel of another make: the link is a convenience
        return ""
    return found if isinstance(found, str) else ""


def volume_path(path: str) -> str:
    """Return a path on the volume: users/ann/a.csv.

    "users/..." and "shared/...", with or without a slash before, are from the
    top; everything else is beside this notebook, or in the person's workspace
    where there is no notebook.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"a path is a text, not a {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or "\0" in text or "\\" in text:
        raise ValueError(f"{path!r} is not a path: folders are divided by /")
    if text.startswith("/") or text.split("/")[0] in ("users", "shared"):
        full = posixpath.normpath("/" + text.lstrip("/"))
    else:
        base = posixpath.dirname(notebook()) or (f"users/{user()}" if user() else "")
        if not base:
            raise Error(
                f"{text!r} is beside no notebook: outside of one, say the whole path, as users/NAME/{text}", "invalid"
            )
        full = posixpath.normpath(f"/{base}/{text}")
    return full.strip("/")
