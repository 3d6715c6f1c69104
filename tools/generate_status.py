"""Write src/dicomwire/dimse/_status.py, status codes per service, from tools/registry/status_codes.csv.

Run: .venv/bin/python tools/generate_status.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

TOOLS = Path(__file__).parent
SOURCE = TOOLS / "registry" / "status_codes.csv"
TARGET = TOOLS.parent / "src" / "dicomwire" / "dimse" / "_status.py"

HEADER = '''"""Status codes per service (PS3.7 2020c C; PS3.4), written by tools/generate_status.py.

Do not edit: change the table in tools/registry and run it again.
"""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from typing import Final

# service, class, code (x: any digit), meaning, related fields, source
STATUS_CODES: Final[tuple[tuple[str, str, str, str, str, str], ...]] = (
'''

COLUMNS = ("service", "status_class", "code", "meaning", "related_fields", "source")


def module() -> str:
    """The text of the module."""
    with SOURCE.open(newline="", encoding="utf-8") as source:
        rows = [", ".join(json.dumps(row[column]) for column in COLUMNS) for row in csv.DictReader(source)]
    return HEADER + "".join(f"    ({row}),\n" for row in rows) + ")\n"


if __name__ == "__main__":
    TARGET.write_text(module(), encoding="utf-8")
