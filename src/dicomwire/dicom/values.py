"""Values of data elements from their bytes, by VR (PS3.5 6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import calcsize, unpack_from
from typing import Final

from dicomwire.dicom.charset import DEFAULT, CharacterSet
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Encoding

TEXT_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs that Specific Character Set governs (PS3.5 6.1.2.2)."""

SINGLE_VALUED: Final = frozenset({"LT", "ST", "UR", "UT"})
"""Text VRs in which a backslash is a character (PS3.5 6.2)."""

STRING_VRS: Final = TEXT_VRS | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}

NUMBER_FORMATS: Final = {
    "FD": "d",
    "FL": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}
"""struct's format of each binary number VR."""

_SIZES: Final = {vr: calcsize("<" + code) for vr, code in NUMBER_FORMATS.items()}
_LEADING_SPACES_TOO: Final = frozenset({"AE", "CS", "DS", "IS", "DA", "DT", "TM"})


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns raw values of one data set or item into text and numbers."""

    character_set: CharacterSet = DEFAULT
    encoding: Encoding = EXPLICIT_LITTLE

    def text(self, vr: str, value: bytes) -> str:
        """A string VR's value, backslashes included, without padding: at its end, and where spaces
        mean nothing at its start too.
        """
        if vr in TEXT_VRS:
            return self.character_set.decode(value, name=vr == "PN").rstrip(" \0")
        text = value.decode("latin_1").rstrip(" \0")
        return text.lstrip(" ") if vr in _LEADING_SPACES_TOO else text

    def texts(self, vr: str, value: bytes) -> list[str]:
        """The values of a string VR, each without its padding; none for an empty element."""
        text = self.text(vr, value)
        if not text:
            return []
        if vr in SINGLE_VALUED or "\\" not in text:
            return [text]
        if vr in _LEADING_SPACES_TOO:
            return [part.strip(" \0") for part in text.split("\\")]
        return [part.rstrip(" \0") for part in text.split("\\")]

    def numbers(self, vr: str, value: bytes) -> tuple[int | float, ...]:
        """The values of a binary number VR; bytes that do not fill a number are left out."""
        count = len(value) // _SIZES[vr]
        return unpack_from(f"{self.encoding.order}{count}{NUMBER_FORMATS[vr]}", value)

    def tags(self, value: bytes) -> list[int]:
        """The values of an AT."""
        words = unpack_from(f"{self.encoding.order}{len(value) // 4 * 2}H", value)
        return [group << 16 | element for group, element in zip(words[::2], words[1::2], strict=True)]
