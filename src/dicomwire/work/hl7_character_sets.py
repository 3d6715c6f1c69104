"""Character sets of HL7 v2 messages, and what DICOM calls them (HL7 v2.5.1 2.14.9.18, PS3.3 C.12.1.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# HL7 table 0211 (in MSH-18): Python's codec and DICOM's Specific Character Set
CHARACTER_SETS: Final[Mapping[str, tuple[str, str]]] = {
    "": ("utf_8", ""),  # ASCII, and what goes beyond it is UTF-8 where it can be
    "ASCII": ("ascii", ""),
    "ISO IR6": ("ascii", ""),
    "8859/1": ("latin_1", "ISO_IR 100"),
    "8859/2": ("iso8859_2", "ISO_IR 101"),
    "8859/3": ("iso8859_3", "ISO_IR 109"),
    "8859/4": ("iso8859_4", "ISO_IR 110"),
    "8859/5": ("iso8859_5", "ISO_IR 144"),
    "8859/6": ("iso8859_6", "ISO_IR 127"),
    "8859/7": ("iso8859_7", "ISO_IR 126"),
    "8859/8": ("iso8859_8", "ISO_IR 138"),
    "8859/9": ("iso8859_9", "ISO_IR 148"),
    "8859/15": ("iso8859_15", "ISO_IR 192"),
    "ISO IR14": ("iso2022_jp_ext", "ISO_IR 192"),
    "ISO IR87": ("iso2022_jp_ext", "ISO_IR 192"),
    "ISO IR159": ("iso2022_jp_ext", "ISO_IR 192"),
    "GB 18030-2000": ("gb18030", "GB18030"),
    "KS X 1001": ("euc_kr", "ISO_IR 192"),
    "BIG-5": ("big5", "ISO_IR 192"),
    "UNICODE": ("utf_8", "ISO_IR 192"),
    "UNICODE UTF-8": ("utf_8", "ISO_IR 192"),
    "UTF-8": ("utf_8", "ISO_IR 192"),  # not of the table, but often sent
}

ISO_2022: Final = frozenset({"ISO IR14", "ISO IR87", "ISO IR159"})
"""Those that escape sequences switch to, whichever repetition of MSH-18 names them."""
