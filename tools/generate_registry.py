"""Write src/dicomwire/_registry.py, SOP classes and transfer syntaxes (PS3.6 A), from tools/registry/*.csv.

Run: .venv/bin/python tools/generate_registry.py
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

TOOLS = Path(__file__).parent
TARGET = TOOLS.parent / "src" / "dicomwire" / "_registry.py"

HEADER = '''"""SOP classes and transfer syntaxes (PS3.6 2026 A), written by tools/generate_registry.py.

Do not edit: change the tables in tools/registry and run it again.
"""

# ruff: noqa: E501
from __future__ import annotations

from typing import Final
'''

SOP_CLASSES = """
# uid, name, keyword, meta, retired, service class, storage, IOD, edition
SOP_CLASSES: Final[tuple[tuple[str, str, str, bool, bool, str, bool, str, str], ...]] = ("""

TRANSFER_SYNTAXES = """
# uid, name, keyword, retired, explicit VR, little endian, deflated, encapsulated, codec, loss
TRANSFER_SYNTAXES: Final[
    tuple[tuple[str, str, str, bool, bool | None, bool | None, bool, bool, str, str], ...]
] = ("""

PRIVATE_STORAGE_SOP_CLASSES = """
# uid, name
PRIVATE_STORAGE_SOP_CLASSES: Final[tuple[tuple[str, str], ...]] = ("""

FLAGS = {"yes": True, "no": False, "n/a": None}


def text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def flag(value: str) -> str:
    return repr(FLAGS[value])


def rows(file: str, columns: dict[str, Callable[[str], str]]) -> list[str]:
    """One Python tuple per row of the file, its columns in the order of `columns`."""
    with (TOOLS / "registry" / file).open(newline="", encoding="utf-8") as source:
        return [
            f"    ({', '.join(write(row[column]) for column, write in columns.items())}),"
            for row in csv.DictReader(source)
        ]


def module() -> str:
    """The whole text of the generated module."""
    sop_classes = rows(
        "sop_classes.csv",
        {
            "uid": text, "name": text, "keyword": text, "meta": flag, "retired": flag,
            "service_class": text, "storage": flag, "iod": text, "edition": text,
        },
    )  # fmt: skip
    transfer_syntaxes = rows(
        "transfer_syntaxes.csv",
        {
            "uid": text, "name": text, "keyword": text, "retired": flag, "explicit_vr": flag,
            "little_endian": flag, "deflated": flag, "encapsulated": flag, "codec": text, "loss": text,
        },
    )  # fmt: skip
    private = rows("private_storage_sop_classes.csv", {"uid": text, "name": text})
    lines = [
        HEADER,
        *(SOP_CLASSES[1:].splitlines()), *sop_classes, ")",
        *TRANSFER_SYNTAXES.splitlines(), *transfer_syntaxes, ")",
        *PRIVATE_STORAGE_SOP_CLASSES.splitlines(), *private, ")",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(module(), encoding="utf-8")
