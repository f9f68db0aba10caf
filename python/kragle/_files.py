"""Files of the workspaces, through the server: the same from every machine."""

from __future__ import annotations

import datetime
import io
import json
import posixpath
from dataclasses import dataclass
from typing import IO, Any

from ._context import client, volume_path
from ._errors import Error
from ._http import encoded, quoted
from ._listing import Listing
from ._sql import _time

MAX_WRITE = 300 << 20


@dataclass(frozen=True)
class File:
    """A file or a folder of a workspace."""

    name: str
    path: str
    type: str
    size: int | None = None
    modified: datetime.datetime | None = None


class Files:
    """``kg.files``. Paths are as in Quire: users/ann/a.csv, shared/b.csv; others are beside the notebook."""

    def __repr__(self) -> str:
        return "<kg.files: list, read, read_text, write, open, exists, delete>"

    def list(self, path: str = ".") -> Listing[File]:
        """Return what is in a folder, by name."""
        full = volume_path(path)
        said = client().json("GET", f"/api/contents/{quoted(full)}" if full else "/api/contents") or {}
        if said.get("type") != "directory":
            raise Error(f"{full} is a {said.get('type')}, not a folder", "invalid")
        return Listing((_file(one) for one in said.get("content") or []), ("name", "type", "size", "modified"))

    def stat(self, path: str) -> File:
        """Return what is known of a file."""
        return _file(client().json("GET", f"/api/contents/{quoted(volume_path(path))}", query={"content": "0"}) or {})

    def exists(self, path: str) -> bool:
        """Is there such a file or folder?"""
        try:
            self.stat(path)
        except Error as error:
            if error.kind == "not found":
                return False
            raise
        return True

    def read(self, path: str, max_bytes: int = 1 << 30) -> bytes:
        """Return the bytes of a file."""
        response = client().stream("GET", f"/files/{quoted(volume_path(path))}")
        return response.read(max_bytes)

    def read_text(self, path: str, encoding: str = "utf-8") -> str:
        """Return the text of a file."""
        return self.read(path).decode(encoding)

    def write(self, path: str, data: bytes | bytearray | memoryview | str | dict[str, Any]) -> File:
        """Save a file, as a new version when it exists. A dictionary is a notebook, or JSON."""
        full = volume_path(path)
        body: dict[str, Any]
        if isinstance(data, dict) and full.endswith(".ipynb"):
            body = {"type": "notebook", "format": "json", "content": data}
        else:
            if isinstance(data, dict):
                data = json.dumps(data, indent=1)
            raw = data.encode() if isinstance(data, str) else bytes(data)
            if len(raw) > MAX_WRITE:
                raise Error(f"{full}: {len(raw)} bytes; a file may have {MAX_WRITE}", "too large")
            body = {"type": "file", "format": "base64", "content": encoded(raw)}
        return _file(client().json("PUT", _own(full), body) or {}, full)

    def open(self, path: str, mode: str = "r", encoding: str = "utf-8") -> IO[Any]:
        """Open a file: r, rb, w or wb. What is written is saved when the file is closed.

        A ``with`` block that ends with an error saves nothing.
        """
        if mode not in ("r", "rb", "w", "wb"):
            raise ValueError(f"mode={mode!r}: want r, rb, w or wb")
        raw = io.BytesIO(self.read(path)) if "r" in mode else _Saving(self, volume_path(path))
        return raw if "b" in mode else _Text(raw, encoding=encoding)

    def delete(self, path: str) -> None:
        """Move a file to the trash."""
        client().json("DELETE", _own(volume_path(path)))


class _Text(io.TextIOWrapper):
    """The text of a file; it tells what it writes to that its block failed."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if isinstance(self.buffer, _Saving):
            self.buffer.give_up(kind)
        self.close()


class _Saving(io.BytesIO):
    """What is written, until it is closed."""

    def __init__(self, files: Files, path: str) -> None:
        super().__init__()
        self._files, self._path, self._failed = files, path, False

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.give_up(kind)
        self.close()

    def give_up(self, kind: Any) -> None:
        """Save nothing, where the block ended with an error."""
        self._failed = kind is not None

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()
            if not self._failed:
                self._files.write("/" + self._path, data)


def _own(full: str) -> str:
    """The address under which a file is changed: that of its workspace."""
    parts = full.split("/", 2)
    if len(parts) < 3 or parts[0] != "users":
        raise Error(f"{full or '/'} cannot be written: files of workspaces can, as users/NAME/FILE", "denied")
    return f"/user/{quoted(parts[1])}/api/contents/{quoted(parts[2])}"


def _file(said: dict[str, Any], full: str = "") -> File:
    size = said.get("size")
    path = full or str(said.get("path", ""))
    return File(
        name=str(said.get("name") or posixpath.basename(path)),
        path=path,
        type=str(said.get("type", "")),
        size=size if isinstance(size, int) else None,
        modified=_time(said.get("last_modified")),
    )




files = Files()
