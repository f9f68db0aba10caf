"""The parameters of this notebook, with the values that they have now."""

from __future__ import annotations

import ast
import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ._context import client, notebook, run_id
from ._errors import Error
from ._http import quoted

T = TypeVar("T")


class Parameters(Mapping[str, Any]):
    """``kg.parameters``: a mapping from name to value, and attributes of the same names.

    The names and types are those of the cell with the tag "parameters"; the values
    are what the notebook's variables hold now, so those of this run. An int where
    the notebook says float becomes one, a text where it says date becomes a date.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[str, str], dict[str, str]] | None = None

    @property
    def types(self) -> dict[str, str]:
        """The declared type of each parameter, as the notebook writes it; "" where it writes none."""
        here = (notebook(), run_id())
        if self._known is None or self._known[0] != here:
            self._known = (here, _declared(*here))
        return self._known[1]

    def __getitem__(self, name: str) -> Any:
        declared = self.types
        if name not in declared:
            raise KeyError(f"{name!r} is not a parameter; there are {', '.join(declared) or 'none'}")
        space = _namespace()
        if name not in space:
            raise KeyError(f"{name!r} has no value yet: run the cell with the tag parameters first")
        return _typed(space[name], declared[name], name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.types]

    def __repr__(self) -> str:
        try:
            return f"<kg.parameters: {dict(self)}>"
        except (Error, KeyError) as error:
            return f"<kg.parameters: {error.args[0]}>"

    def to(self, cls: type[T]) -> T:
        """Return the values as an instance of a dataclass whose fields are parameters."""
        if not dataclasses.is_dataclass(cls):
            raise TypeError(f"to: {cls!r} is not a dataclass")
        wanted = [field for field in dataclasses.fields(cls) if field.init]
        values = {}
        for field in wanted:
            if field.name in self:
                kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
                values[field.name] = _typed(self[field.name], kind, field.name)
        return cls(**values)


def _declared(path: str, run: str) -> dict[str, str]:
    if run:
        document = client().json("GET", f"/api/runs/{quoted(run)}/source") or {}
    elif path:
        said = client().json("GET", f"/api/contents/{quoted(path)}", query={"type": "notebook"}) or {}
        document = said.get("content") or {}
    else:
        raise Error("parameters: this process belongs to no notebook that the server knows (QUIRE_NOTEBOOK)", "invalid")
    return declared(document)


def declared(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that a notebook declares, with their types."""
    for cell in document.get("cells") or []:
        tags = (cell.get("metadata") or {}).get("tags") or []
        if "parameters" in tags and cell.get("cell_type") == "code":
            source = cell.get("source") or ""
            return _of_source(source if isinstance(source, str) else "".join(source))
    return {}


def _of_source(source: str) -> dict[str, str]:
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError as error:
        raise Error(f"parameters: the cell with the tag parameters is not Python: {error}", "invalid") from None
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, "")
    return found


_FROM_TEXT = {
    "date": datetime.date.fromisoformat,
    "datetime.date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "datetime.datetime": datetime.datetime.fromisoformat,
}


def _typed(value: Any, kind: str, name: str) -> Any:
    """Return the value as its declared type has it, where there is one way only."""
    if kind == "float" and type(value) is int:
        return float(value)
    read = _FROM_TEXT.get(kind)
    if read is not None and isinstance(value, str):
        try:
            return read(value)
        except ValueError:
            raise ValueError(f"parameter {name!r}: {value!r} is no {kind}: want 2018-05-08") from None
    return value


def _namespace() -> dict[str, Any]:
    from quire._checkpoint import _namespace as of_user

    return of_user()


parameters = Parameters()
