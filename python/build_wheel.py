"""The build backend of this folder (PEP 517), and a program that makes the wheel.

    python3 python/build_wheel.py DIRECTORY

A wheel is a zip file with three files more than the packages: no tool is needed
to write one. The same sources give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("kragle", "quire")
NAME = "kragle"
REQUIRES_PYTHON = ">=3.10"
EXTRAS = {"pandas": ["pandas", "pyarrow"], "polars": ["polars", "pyarrow"], "spark": ["pyspark[connect]>=4", "pyarrow", "pandas"]}
TIME = (2026, 1, 1, 0, 0, 0)


def version() -> str:
    """The version, as the library itself says it."""
    for line in (HERE / "kragle" / "__init__.py").read_text("utf-8").splitlines():
        if line.startswith("__version__ = "):
            return line.split('"')[1]
    raise ValueError("kragle/__init__.py has no __version__")


def _metadata() -> str:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {NAME}",
        f"Version: {version()}",
        "Summary: The Quire data platform from a notebook or a script",
        "License: Apache-2.0",
        f"Requires-Python: {REQUIRES_PYTHON}",
        "Classifier: Typing :: Typed",
    ]
    for extra, needed in EXTRAS.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {one}; extra == "{extra}"' for one in needed]
    return "\n".join(lines) + "\n"


def _sources() -> list[Path]:
    found = [file for package in PACKAGES for file in (HERE / package).rglob("*")]
    return sorted(file for file in found if file.suffix == ".py" or file.name == "py.typed")


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel; return its name."""
    files = {file.relative_to(HERE).as_posix(): file.read_bytes() for file in _sources()}
    info = f"{NAME}-{version()}.dist-info"
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: quire\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = f"{NAME}-{version()}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, TIME)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, data)
    return wheel


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Write the sources; return the name of the file."""
    base = f"{NAME}-{version()}"
    with tarfile.open(os.path.join(sdist_directory, base + ".tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as out:
        for file in [HERE / "pyproject.toml", HERE / "build_wheel.py", *_sources()]:
            out.add(file, f"{base}/{file.relative_to(HERE).as_posix()}")
        info = tarfile.TarInfo(f"{base}/PKG-INFO")
        data = _metadata().encode()
        info.size = len(data)
        out.addfile(info, io.BytesIO(data))
    return base + ".tar.gz"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    print(os.path.join(sys.argv[1], build_wheel(sys.argv[1])))
