"""Write src/dicomwire/dicom/_dictionary.py, the data dictionary (PS3.6 6-9), from pydicom's.

Run: .venv/bin/python tools/generate_dictionary.py
"""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._version import __version__

TARGET = Path(__file__).parents[1] / "src" / "dicomwire" / "dicom" / "_dictionary.py"

HEADER = '''"""Data dictionary (PS3.6 6-9), as in pydicom {version}: by tools/generate_dictionary.py."""

from __future__ import annotations

from typing import Final

# tag: (VR, keyword); a VR that depends on other elements is written as in the standard: "US or SS"
ELEMENTS: Final[dict[int, tuple[str, str]]] = {{
{elements}
}}

# (tag, mask, VR, keyword): repeating groups and elements; a tag matches where tag & mask equals the first
REPEATERS: Final[tuple[tuple[int, int, str, str], ...]] = (
{repeaters}
)
'''


def main() -> None:
    elements = "\n".join(
        f'    0x{tag:08X}: ("{vr}", "{keyword}"),'
        for tag, (vr, _, _, _, keyword) in sorted(DicomDictionary.items())
        if vr != "NONE"
    )
    repeaters = "\n".join(
        f'    (0x{pattern.replace("x", "0").upper()}, 0x{mask(pattern)}, "{vr}", "{keyword}"),'
        for pattern, (vr, _, _, _, keyword) in RepeatersDictionary.items()
    )
    TARGET.write_text(HEADER.format(version=__version__, elements=elements, repeaters=repeaters))
    print(f"{TARGET}: {len(DicomDictionary)} elements from pydicom {pydicom.__version__}")


def mask(pattern: str) -> str:
    return "".join("0" if character == "x" else "F" for character in pattern)


if __name__ == "__main__":
    main()
