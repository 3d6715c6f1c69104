"""What the sections of a node's settings share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

Operation = Literal["echo", "store", "find", "get", "move", "delete", "commit", "mpps", "notify", "ups"]
OPERATIONS: tuple[Operation, ...] = (
    "echo",
    "store",
    "find",
    "get",
    "move",
    "commit",
    "mpps",
    "notify",
    "ups",
)


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


def unique(values: Sequence[str], table: str, key: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"two [[{table}]] have the same {key} {value!r}")
        seen.add(value)
