"""Write the tables of docs/configuration.md from the settings themselves.

What stands above the mark stays; below it the tables are made. `--check` writes nothing and fails when the
file is not what it would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dicomwire.node.settings import Settings

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "configuration.md"
MARK = "<!-- Below: written by tools/settings_reference.py -->\n"


def _tables(model: type[BaseModel], name: str) -> Iterator[str]:
    """A section of the file: its own keys, then the tables in it."""
    plain = {key: field for key, field in model.model_fields.items() if _model(field) is None}
    below = {key: field for key, field in model.model_fields.items() if key not in plain}
    if plain and name:
        yield f"\n## `{name}`\n\n{(model.__doc__ or '').splitlines()[0]}\n\n"
        yield "| key | default | |\n|---|---|---|\n"
        for key, field in plain.items():
            yield f"| `{key}` | {_default(field)} | {_words(field)} |\n"
    for key, field in below.items():
        inner = _model(field)
        assert inner is not None
        path = f"{name.strip('[]')}.{key}".lstrip(".")
        yield from _tables(inner, f"[[{path}]]" if "tuple" in str(field.annotation) else f"[{path}]")


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The table that a key holds."""
    for part in (field.annotation, *get_args(field.annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    if field.default is None:
        return ""
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{json.dumps(value, default=str)}`"


def _words(field: FieldInfo) -> str:
    choices = [part for part in get_args(field.annotation) if isinstance(part, str)]
    named = f"One of {', '.join(f'`{choice}`' for choice in choices)}. " if choices else ""
    return (named + (field.description or "As in the table above it, when not set.")).replace("|", "\\|")


def main() -> int:
    """Exit status 1 with --check, when the file is out of date."""
    have = DOCUMENT.read_text()
    wanted = have.partition(MARK)[0] + MARK + "".join(_tables(Settings, ""))
    if sys.argv[1:] == ["--check"]:
        if have == wanted:
            return 0
        print(f"{DOCUMENT.relative_to(ROOT)} is out of date: make docs", file=sys.stderr)
        return 1
    DOCUMENT.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
