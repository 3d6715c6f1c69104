"""Settings written as TOML, each that is no default with the place it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping


def toml(tree: Mapping[str, object], origins: Mapping[str, str]) -> str:
    """A tree of plain values as a TOML document.

    Args:
        tree: as `configuration.plain` makes it.
        origins: dotted key to its place in words.
    """
    return "\n".join(_lines(tree, origins, "", "")).strip() + "\n"


def _lines(tree: Mapping[str, object], origins: Mapping[str, str], header: str, key: str) -> Iterator[str]:
    """Values first, then tables: in TOML a value behind a table's header belongs to that table."""
    for name, value in tree.items():
        if not _tables(value):
            origin = origins.get(key + name, "")
            yield f"{name} = {_literal(value)}" + (f"  # {origin}" if origin else "")
    for name, value in tree.items():
        for index, table in enumerate(_tables(value)):
            listed = isinstance(value, list)
            yield ""
            yield f"[[{header}{name}]]" if listed else f"[{header}{name}]"
            below = f"{key}{name}.{index}." if listed else f"{key}{name}."
            yield from _lines(table, origins, f"{header}{name}.", below)


def _tables(value: object) -> list[Mapping[str, object]]:
    """The tables that a value is or lists; none when it is a plain value."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return value
    return []


def _literal(value: object) -> str:
    """JSON's literals of text, numbers, booleans and lists of them are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
