"""`dicomwire version`: what runs here."""

from __future__ import annotations

import importlib
import platform
import sys
from importlib import metadata
from typing import Annotated

import typer

from dicomwire import __version__
from dicomwire.cli.output import Json, show_json
from dicomwire.uids import EDITIONS, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_LIBRARIES = ("pydicom", "sqlalchemy", "starlette", "uvicorn", "uvloop", "isal", "pysqlite3")


def _show(asked: bool) -> None:
    if asked:
        print(f"dicomwire {__version__}")
        raise typer.Exit


def version(*, as_json: Json = False) -> None:
    """Show the version of dicomwire and of what it runs on."""
    known = facts()
    libraries = {name: _installed(name) for name in _LIBRARIES}
    if as_json:
        show_json({**known, "libraries": libraries})
        return
    print(f"dicomwire {__version__}")
    for name, value in list(known.items())[1:]:
        print(f"{name.replace('_', ' '):28} {value}")
    print(f"{'libraries':28} " + ", ".join(f"{name} {found}" for name, found in libraries.items() if found))
    print(f"{'installed in':28} {sys.prefix}")


def options(
    *,
    shown: Annotated[
        bool, typer.Option("--version", help="Show the version of dicomwire.", callback=_show, is_eager=True)
    ] = False,
) -> None:
    """Options of `dicomwire` itself."""


def facts() -> dict[str, object]:
    """What runs here, but for its libraries."""
    return {
        "dicomwire": __version__,
        "implementation_class_uid": IMPLEMENTATION_CLASS_UID,
        "implementation_version_name": IMPLEMENTATION_VERSION_NAME,
        "registry": f"PS3.6 {EDITIONS[-1]}",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": _sqlite(),
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _sqlite() -> str:
    name = "pysqlite3.dbapi2" if _installed("pysqlite3") else "sqlite3"
    return str(importlib.import_module(name).sqlite_version)
