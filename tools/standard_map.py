"""Write docs/standard-map.md: which module implements which section of the standard, from docstrings.

`--check` writes nothing and fails when the file is not what it would write.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dicomwire"
DOCUMENT = ROOT / "docs" / "standard-map.md"

HEAD = """# Where the standard is in the code

Written by `tools/standard_map.py` from the first docstring line of each module; `make docs` writes it again.
"""
_PART = re.compile(r"\(((?:PS3\.\d+|RFC \d+|BCP \d+).*?)\)[.:?]?$")


def entries() -> list[tuple[str, str, str]]:
    """Module, what it is, sections; in the order of the sections, modules without any left out."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        line = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0].replace("\n", " ")
        if match := _PART.search(line):
            module = path.relative_to(SOURCE).as_posix()
            found.append((module, line[: match.start()].rstrip(), match[1]))
    return sorted(found, key=lambda entry: (_order(entry[2]), entry[0]))


def _order(sections: str) -> tuple[int, tuple[object, ...]]:
    """PS3.8 before PS3.10, RFCs last; within a part as the section's name sorts."""
    match = re.match(r"PS3\.(\d+) ?([\w.]*)", sections)
    if not match:
        return 99, (sections,)
    pieces = re.findall(r"\d+|[A-Z]+", match[2])
    return int(match[1]), tuple(
        (not piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in pieces
    )


def text() -> str:
    """The document."""
    rows = [
        f"| {sections} | [`{module}`](../src/dicomwire/{module}) | {what} |"
        for module, what, sections in entries()
    ]
    return "\n".join([HEAD, "| sections | module | what |", "|---|---|---|", *rows, ""])


def main() -> int:
    """Exit status 1 with --check, when the file is out of date."""
    wanted = text()
    if sys.argv[1:] == ["--check"]:
        if DOCUMENT.exists() and DOCUMENT.read_text() == wanted:
            return 0
        print(f"{DOCUMENT.relative_to(ROOT)} is out of date: make docs", file=sys.stderr)
        return 1
    DOCUMENT.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
