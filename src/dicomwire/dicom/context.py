"""VRs that depend on other elements: US or SS, OB or OW, US or OW (PS3.5 A.1, PS3.3 C.11).

Only implicit VR, and UN in explicit VR, need an answer; the rule is pydicom's, so that values come out equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dicomwire.dicom.byte_order import UNIT_SIZES
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.encoding import Encoding

BITS_ALLOCATED: Final = 0x00280100
PIXEL_REPRESENTATION: Final = 0x00280103
LUT_DESCRIPTOR: Final = 0x00283002
DECIDING: Final = frozenset({BITS_ALLOCATED, PIXEL_REPRESENTATION, LUT_DESCRIPTOR})
"""Tags of the elements to show to `Context.observe`."""


@dataclass(slots=True)
class Context:
    """What the elements of one data set or item depend on.

    Attributes:
        pixel_representation: of the nearest data set around that has one; 0 unsigned, 1 signed.
        lut_entries: first value of LUT Descriptor, -1 without.
        bits_allocated: of the pixels in this data set, 0 without.
    """

    pixel_representation: int = 0
    lut_entries: int = -1
    bits_allocated: int = 0

    def observe(self, tag: int, value: bytes, encoding: Encoding) -> None:
        """Take note of an element in DECIDING."""
        if len(value) >= 2:
            number = int.from_bytes(value[:2], "little" if encoding.little_endian else "big")
            if tag == PIXEL_REPRESENTATION:
                self.pixel_representation = number
            elif tag == BITS_ALLOCATED:
                self.bits_allocated = number
            else:
                self.lut_entries = number

    def item(self) -> Context:
        """The context of an item within."""
        return Context(self.pixel_representation)

    def vr(self, tag: int, *, encapsulated: bool = False) -> str:
        """VR of an element that implicit VR or UN leaves open; "UN" where the dictionary has none."""
        vr = vr_of(tag)
        if len(vr) == 2:
            return vr
        if encapsulated:
            return "OB"
        if vr == "US or SS":
            return "SS" if self.pixel_representation else "US"
        if tag == 0x00283006:  # LUT Data: one entry is a number, more are a table
            return "US" if self.lut_entries == 1 else "OW"
        return "OW"  # PS3.5 A.1: what may be OB or OW is OW in implicit VR

    def unit_size(self, tag: int, vr: str) -> int:
        """Bytes to reverse where the byte order changes, 0 for none.

        Pixels of 32 and 64 bits in OW are reversed as a whole: so the big endian writers do whose files
        exist (GDCM; pydicom's rtdose_expb.dcm), and so its readers read them.
        """
        if tag == 0x7FE00010 and vr == "OW" and self.bits_allocated in (32, 64):
            return self.bits_allocated // 8
        return UNIT_SIZES.get(vr, 0)
