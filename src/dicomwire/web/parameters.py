"""Query parameters of one value, numbers and flags (PS3.18 8.3.1, 8.3.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeVar

from starlette.datastructures import QueryParams

from dicomwire.web.problems import Problem, shown

_LARGEST: Final = (1 << 63) - 1  # SQLite's integers
_UINT = re.compile(r"\d{1,100}", re.ASCII)

Key = TypeVar("Key")


def check_once(query: QueryParams, names: Iterable[str]) -> None:
    """Raises: Problem 400, for a parameter of one value that is there more than once."""
    for name in names:
        if (times := len(query.getlist(name))) > 1:
            raise Problem(400, f"{name} is there {times} times; once wanted")


def put_once(values: dict[Key, str], key: Key, value: str, name: str) -> None:
    """Take a parameter of one value under the key that stands for it, as an attribute for keyword and tag.

    Raises: Problem 400, where it is there already (PS3.18 8.3.4.1: no attribute shall be repeated).
    """
    if key in values:
        raise Problem(400, f"parameter {shown(name)} is there twice; once wanted")
    values[key] = value


def uint(name: str, text: str) -> int:
    """A parameter that is a number. Raises: Problem 400."""
    if not _UINT.fullmatch(text):
        raise Problem(400, f"{name} is {shown(text)}; a number from 0 wanted")
    return min(int(text), _LARGEST)


def flag(name: str, text: str) -> bool:
    """A parameter that is true or false. Raises: Problem 400."""
    if text.lower() not in ("true", "false"):
        raise Problem(400, f"{name} is {shown(text)}; true or false wanted")
    return text.lower() == "true"
