"""Value representations and keywords of data elements (PS3.6 6-9).

Private elements are not looked up: their creators (gggg,0010-00FF) are LO (PS3.5 7.8.1), the rest is unknown.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

from dicomwire.dicom._dictionary import ELEMENTS, REPEATERS

TAGS = MappingProxyType({keyword: tag for tag, (_, keyword) in ELEMENTS.items() if keyword})
"""Tag of each keyword."""

SEQUENCES = frozenset(tag for tag, (vr, _) in ELEMENTS.items() if vr == "SQ")
"""Tags of all sequences but the repeating (50xx,2600)."""


def vr_of(tag: int) -> str:
    """VR of an element, also "US or SS", "OB or OW" and the like; "UN" where it is not known."""
    entry = ELEMENTS.get(tag)
    return entry[0] if entry is not None else _rare(tag)[0]


def keyword_of(tag: int) -> str:
    """Keyword of an element, "" where it is not known."""
    entry = ELEMENTS.get(tag)
    return entry[1] if entry is not None else _rare(tag)[1]


def tag_text(tag: int) -> str:
    """A tag as people write it: (0008,0018)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def is_private(tag: int) -> bool:
    """Odd groups are private (PS3.5 7.8)."""
    return bool(tag & 0x10000)


@lru_cache(maxsize=4096)
def _rare(tag: int) -> tuple[str, str]:
    element = tag & 0xFFFF
    if is_private(tag):
        return ("LO", "") if 0x10 <= element <= 0xFF else ("UL" if element == 0 else "UN", "")
    for pattern, mask, vr, keyword in REPEATERS:
        if tag & mask == pattern:
            return vr, keyword
    return ("UL" if element == 0 else "UN", "")  # group length, PS3.5 7.2
