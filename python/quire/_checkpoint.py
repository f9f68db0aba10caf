"""Keeping variables, so that a run can go on from here after a failure."""

import hashlib
import importlib
import json
import math
import os
import pickle
import stat
import sys
import tempfile
import types
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple

from ._display import publish

CHECKPOINT_MIME = "application/x-quire-checkpoint"
DIRECTORY = "QUIRE_CHECKPOINT_DIR"
MAX_MANIFEST = 4 << 20
MAX_IMPORTS = 1000
_OURS_OF_IPYTHON = {"In", "Out", "get_ipython", "exit", "quit", "open"}


def checkpoint(*names: str) -> None:
    """Keep the named variables, so that ``quire run --resume`` can go on after this cell.

    Plain values are kept as JSON, simple data frames as Parquet where pyarrow is
    there, all others as pickles; what the notebook imported so far is noted, and
    imported again on resume. Functions and classes that the notebook itself
    defines cannot be kept, nor can what only exists in this process (open files,
    connections): that is an error here, not a surprise later.

    Each file is complete on the disk before the checkpoint is announced. Outside
    of a run that keeps checkpoints this says so in one line and does nothing.
    """
    directory = os.environ.get(DIRECTORY)
    if not directory:
        print("quire.checkpoint: this run keeps no checkpoints; nothing was written")
        return
    namespace = _namespace()
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"checkpoint: {name!r} is not the name of a variable")
        if name not in namespace:
            raise NameError(f"checkpoint: there is no variable {name!r}")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    files = {name: _keep(directory, name, namespace[name]) for name in dict.fromkeys(names)}
    manifest = {"names": list(files), "files": files, "imports": _imports(namespace)}
    data = json.dumps(manifest, indent=1, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    file = f"manifest-{digest[:16]}.json"
    _write(directory, file, lambda out: out.write(data))
    size = sum(entry["bytes"] for entry in files.values())
    text = f"checkpoint: kept {', '.join(files) or 'nothing'} ({size} bytes)"
    publish(CHECKPOINT_MIME, {**manifest, "manifest": {"file": file, "sha256": digest}}, text)


def restore(manifest_path: str) -> List[str]:
    """Put the variables of a checkpoint back; return their names.

    Every file must lie beside the manifest, belong to this user, be writable by
    nobody else, and have the length and SHA-256 that the manifest says; all of
    that is known before the first value is loaded. Pickles are programs: call
    this only with a manifest whose origin is certain.
    """
    directory = os.path.dirname(os.path.abspath(manifest_path))
    with _open(manifest_path) as file:
        data = file.read(MAX_MANIFEST + 1)
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"{manifest_path}: longer than {MAX_MANIFEST} bytes")
    manifest = json.loads(data)
    opened: List[Tuple[str, str, BinaryIO]] = []
    try:
        for name in manifest["names"]:
            entry = manifest["files"][name]
            opened.append((name, entry["format"], _verified(directory, name, entry)))
        values = {alias: _import(*target) for alias, target in manifest.get("imports", {}).items()}
        for name, form, file in opened:
            values[name] = _load(name, form, file)
    finally:
        for _, _, file in opened:
            file.close()
    _namespace().update(values)
    return list(manifest["names"])


def _namespace() -> Dict[str, Any]:
    """The notebook's variables: those of IPython's user, or of the main program."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        return shell.user_ns  # type: ignore[no-any-return]
    return sys.modules["__main__"].__dict__


def _keep(directory: str, name: str, value: Any) -> Dict[str, Any]:
    """Write one value; return what the manifest says of it."""
    if _is_plain(value):
        data = json.dumps(value, allow_nan=False).encode()
        return _stored(directory, name, "json", lambda out: out.write(data))
    if _is_simple_frame(value):
        try:
            return _stored(directory, name, "parquet", lambda out: value.to_parquet(out, engine="pyarrow"))
        except (TypeError, ValueError):
            pass  # what Parquet cannot say, a pickle can
    try:
        return _stored(directory, name, "pickle", lambda out: _Pickler(out, protocol=5).dump(value))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"checkpoint: {name!r} (a {kind}) cannot be kept: {error}") from error


def _stored(directory: str, name: str, form: str, dump: Callable[[Any], Any]) -> Dict[str, Any]:
    """Write a file under a name made from its content, so that no checkpoint spoils an earlier one."""
    fd, temporary = tempfile.mkstemp(prefix=".part-", dir=directory)
    try:
        with os.fdopen(fd, "w+b") as out:
            dump(out)
            out.flush()
            digest, size = _digest(out)
            os.fsync(out.fileno())
        file = f"{name}-{digest[:16]}.{form}"
        os.replace(temporary, os.path.join(directory, file))
    except BaseException:
        _remove(temporary)
        raise
    _sync_directory(directory)
    return {"file": file, "format": form, "sha256": digest, "bytes": size}


def _write(directory: str, file: str, dump: Callable[[Any], Any]) -> None:
    fd, temporary = tempfile.mkstemp(prefix=".part-", dir=directory)
    try:
        with os.fdopen(fd, "wb") as out:
            dump(out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, os.path.join(directory, file))
    except BaseException:
        _remove(temporary)
        raise
    _sync_directory(directory)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _digest(file: BinaryIO) -> Tuple[str, int]:
    """The SHA-256 and the length of a file, which is left at its start."""
    file.seek(0)
    sha, size = hashlib.sha256(), 0
    for block in iter(lambda: file.read(1 << 20), b""):
        sha.update(block)
        size += len(block)
    file.seek(0)
    return sha.hexdigest(), size


class _Pickler(pickle.Pickler):
    """Refuses what needs a class or function of the notebook: a resumed run has none."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (type, types.FunctionType)) and value.__module__ == "__main__":
            raise TypeError(
                f"it needs {value.__qualname__!r}, which this notebook defines, and a resumed run "
                "does not run that cell again. Move it to a module"
            )
        return NotImplemented


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Does JSON give exactly this value back?"""
    if value is None or type(value) in (bool, int, str):
        return True
    if type(value) is float:
        return math.isfinite(value)
    if depth > 20:
        return False
    if type(value) is list:
        return all(_is_plain(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(k) is str and _is_plain(v, depth + 1) for k, v in value.items())
    return False


def _is_simple_frame(value: Any) -> bool:
    """Is it a data frame that Parquet gives back exactly as it was?"""
    pandas = sys.modules.get("pandas")
    if pandas is None or type(value) is not pandas.DataFrame or value.attrs:
        return False
    if type(value.index) is not pandas.RangeIndex or value.index.name is not None:
        return False
    if value.columns.name is not None or not all(type(column) is str for column in value.columns):
        return False
    if not all(dtype.kind in "biuf" for dtype in value.dtypes):
        return False
    if not all(type(dtype).__module__.startswith("numpy") for dtype in value.dtypes):
        return False
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        return False
    return True


def _imports(namespace: Dict[str, Any]) -> Dict[str, List[Optional[str]]]:
    """What the notebook has imported: {"pd": ["pandas", None], "sqrt": ["math", "sqrt"]}."""
    found: Dict[str, List[Optional[str]]] = {}
    for alias, value in list(namespace.items()):
        if alias.startswith("_") or alias in _OURS_OF_IPYTHON or len(found) >= MAX_IMPORTS:
            continue
        if isinstance(value, types.ModuleType):
            if sys.modules.get(value.__name__) is value and value.__name__ != "__main__":
                found[alias] = [value.__name__, None]
        else:
            home = _home(value)
            if home is not None:
                found[alias] = list(home)
    return found


def _home(value: Any) -> Optional[Tuple[str, str]]:
    """The module and the name under which a value can be imported again, if there are any."""
    try:
        module, name = value.__module__, value.__name__
    except Exception:  # a foreign object's own __getattr__ may raise anything
        return None
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    found = getattr(sys.modules.get(module), name, None)
    return (module, name) if found is value else None


def _import(module: str, attribute: Optional[str]) -> Any:
    loaded = importlib.import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def _open(path: str) -> BinaryIO:
    """Open a plain file of this user's own that nobody else can write."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    info = os.fstat(fd)
    fault = ""
    if not stat.S_ISREG(info.st_mode):
        fault = "not a plain file"
    elif hasattr(os, "geteuid") and info.st_uid != os.geteuid():
        fault = "belongs to another user"
    elif info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = "others may write it"
    if fault:
        os.close(fd)
        raise ValueError(f"{path}: {fault}")
    return os.fdopen(fd, "rb")


def _verified(directory: str, name: str, entry: Dict[str, Any]) -> BinaryIO:
    """Open a kept file and check its length and hash."""
    file_name = entry["file"]
    if not isinstance(file_name, str) or file_name != os.path.basename(file_name) or file_name in ("", ".", ".."):
        raise ValueError(f"checkpoint: {name!r}: {file_name!r} is not a file beside the manifest")
    file = _open(os.path.join(directory, file_name))
    if _digest(file) != (entry["sha256"], entry["bytes"]):
        file.close()
        raise ValueError(f"checkpoint: {name!r}: {file_name} has changed since it was written")
    return file


def _load(name: str, form: str, file: BinaryIO) -> Any:
    if form == "json":
        return json.loads(file.read())
    if form == "pickle":
        return pickle.load(file)
    if form == "parquet":
        return importlib.import_module("pandas").read_parquet(file, engine="pyarrow")
    raise ValueError(f"checkpoint: {name!r}: {form!r} is not a format of ours")
