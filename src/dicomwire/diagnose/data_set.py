"""The head of a data set: is it what its context says, and does it add up? (PS3.5 7, A).

Deflated data sets are not opened: only their first bytes are looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from dicomwire.dicom.charset import character_set
from dicomwire.dicom.dictionary import keyword_of, tag_text, vr_of
from dicomwire.dicom.elements import Element, Kind, elements
from dicomwire.dicom.encoding import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PIXEL_DATA,
    UNDEFINED,
    VRS,
    Encoding,
    encoding_of,
)
from dicomwire.dicom.values import STRING_VRS, Decoder
from dicomwire.errors import DataSetError
from dicomwire.uids import TRANSFER_SYNTAXES, name_of

ELEMENTS: Final = 128  # kept of one data set
VALUE: Final = 256  # bytes kept of one value
END: Final = 1 << 32  # behind every tag

SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
SPECIFIC_CHARACTER_SET: Final = 0x00080005
QUERY_RETRIEVE_LEVEL: Final = 0x00080052
FAILED_SOP_INSTANCE_UID_LIST: Final = 0x00080058
TRANSACTION_UID: Final = 0x00081195
PERFORMED_PROCEDURE_STEP_STATUS: Final = 0x00400252

_WORDS: Final = {
    (True, True): "Explicit VR Little Endian",
    (False, True): "Implicit VR Little Endian",
    (True, False): "Explicit VR Big Endian",
    (False, False): "Implicit VR Big Endian",
}
_GROUPS: Final = frozenset(range(0x0002, 0x0100, 2))  # a data set's first element is of one of these
_PREAMBLE: Final = 128

# What names no person and is needed to understand a fault: these VRs outside group 0010, and these elements.
_SHOWN_VRS: Final = frozenset({"UI", "CS", "AE", "AT", "US", "UL", "SS", "SL", "FL", "FD", "SV", "UV", "IS"})
_SHOWN: Final = frozenset({0x00080070, 0x00081090, 0x00181020, 0x00081010})  # manufacturer, model, versions
MASKED: Final = "***"


class Fault(NamedTuple):
    """Something wrong: the rule's code, and words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What is kept of a data set.

    Attributes:
        values: raw values of its first elements, items excluded, each cut to `VALUE` bytes.
        encoding: how its values are written.
        faults: what is wrong with it.
        reached: the last tag that was read; what lies behind it is not known. `END` where all was read.
    """

    values: dict[int, bytes]
    encoding: Encoding
    faults: tuple[Fault, ...]
    reached: int = -1

    def text(self, tag: int) -> str:
        """An element's value as text, "" where there is none."""
        value = self.values.get(tag)
        if not value:
            return ""
        decoder = Decoder(character_set(self.values.get(SPECIFIC_CHARACTER_SET, b"")), self.encoding)
        vr = vr_of(tag)
        if vr in STRING_VRS:
            return decoder.text(vr, value)
        return value.hex()

    def lacks(self, tag: int) -> bool:
        """Whether an element is known to be missing or empty: of a data set that is cut nobody knows."""
        return tag <= self.reached and not self.text(tag)


def examine(head: bytes, length: int, transfer_syntax: str) -> Examined:
    """What a data set is.

    Args:
        head: its first bytes, or all of it.
        length: bytes of the whole.
        transfer_syntax: UID of its presentation context, "" where that is not known.
    """
    agreed = encoding_of(transfer_syntax) if transfer_syntax else None
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        what = "the data set begins with a preamble and DICM: a file was sent, meta information and all"
        return Examined({}, EXPLICIT_LITTLE, (Fault("data-set-malformed", what),))
    written = _written(head)
    faults: list[Fault] = []
    if agreed is None:
        encoding = written or IMPLICIT_LITTLE
    elif agreed.deflated:
        if written is not None and _plausible(head, written):
            faults.append(_mismatch(transfer_syntax, written))
            return _walk(head, length, written, "", faults)
        return Examined({}, EXPLICIT_LITTLE, ())
    elif written is None or _same(written, agreed) or not _plausible(head, written):
        encoding = agreed
    else:
        encoding = written
        faults.append(_mismatch(transfer_syntax, written))
    return _walk(head, length, encoding, transfer_syntax, faults)


def _same(one: Encoding, other: Encoding) -> bool:
    return one.explicit == other.explicit and one.little_endian == other.little_endian


def _mismatch(transfer_syntax: str, written: Encoding) -> Fault:
    words = _WORDS[written.explicit, written.little_endian]
    what = f"agreed is {name_of(transfer_syntax)}, the data set is written in {words}"
    return Fault("data-set-transfer-syntax", what)


def _written(head: bytes) -> Encoding | None:
    """How the first element is written, None where that cannot be told."""
    if len(head) < 8:
        return None
    little = int.from_bytes(head[:2], "little") in _GROUPS
    if not little and int.from_bytes(head[:2], "big") not in _GROUPS:
        return None
    explicit = head[4:6].decode("latin-1") in VRS
    if not explicit:
        return IMPLICIT_LITTLE if little else None
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _plausible(head: bytes, encoding: Encoding) -> bool:
    """Whether the first elements can be read so: ascending tags, lengths that lead to the next tag."""
    seen, previous = 0, -1
    try:
        for element in elements(head, encoding):
            if element.kind is Kind.VALUE or element.kind is Kind.SEQUENCE:
                if element.tag <= previous and element.kind is Kind.VALUE and seen < 2:
                    return False
                previous = element.tag
                seen += 1
            if seen >= 3:
                return True
    except DataSetError:
        return seen >= 2
    return seen >= 1


def _walk(
    head: bytes, length: int, encoding: Encoding, transfer_syntax: str, faults: list[Fault]
) -> Examined:
    values: dict[int, bytes] = {}
    level, end, reached = 0, 0, -1
    try:
        for element in elements(head, encoding):
            if element.kind is Kind.SEQUENCE:
                level += 1
            elif element.kind is Kind.SEQUENCE_END:
                level -= 1
            elif level == 0:
                if len(values) < ELEMENTS:
                    reached = element.tag
                    values[element.tag] = head[element.start : min(element.end, element.start + VALUE)]
                if element.tag in PIXEL_DATA:
                    _pixel_data(element, transfer_syntax, faults)
            if level == 0:
                end = element.end
        if len(head) >= length and len(values) < ELEMENTS:
            reached = END
    except DataSetError as error:
        cut = length > len(head)
        if cut and level == 0:
            _behind(head, end, length, encoding, transfer_syntax, faults, values)
        elif not cut:
            faults.append(Fault("data-set-malformed", str(error)))
    return Examined(values, encoding, tuple(faults), reached)


def _behind(
    head: bytes,
    position: int,
    length: int,
    encoding: Encoding,
    transfer_syntax: str,
    faults: list[Fault],
    values: dict[int, bytes],
) -> None:
    """The element whose value goes on behind the head: does it fit into the whole?"""
    try:
        group, number, code, size = encoding.header.unpack_from(head, position)
        tag, start = group << 16 | number, position + 8
        vr = encoding.short.get(code)
        if not encoding.explicit:
            vr, size = "", code | size << 16
        elif vr is None:
            vr = encoding.long.get(code, "")
            (size,) = encoding.length.unpack_from(head, position + 8)
            start = position + 12
    except struct.error:
        return
    if size == UNDEFINED:
        if tag in PIXEL_DATA:
            _pixel_data(
                Element(Kind.ENCAPSULATED, tag, vr or "", start, start, encoding), transfer_syntax, faults
            )
        return
    values.setdefault(tag, head[start : start + VALUE])
    if tag in PIXEL_DATA:
        _pixel_data(Element(Kind.VALUE, tag, vr or "", start, start, encoding), transfer_syntax, faults)
    if start + size > length:
        what = f"{tag_text(tag)} {keyword_of(tag)}: a value of {size} bytes, {length - start} were sent"
        faults.append(Fault("data-set-malformed", f"{what} (at byte {position}, PS3.5 7.1)"))


def _pixel_data(element: Element, transfer_syntax: str, faults: list[Fault]) -> None:
    """Whether pixels are encapsulated where the transfer syntax says so, and only there."""
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax)
    if syntax is None:
        return
    encapsulated = element.kind is Kind.ENCAPSULATED
    if syntax.encapsulated and not encapsulated:
        what = f"agreed is {syntax.name}, the pixel data is not encapsulated"
        faults.append(Fault("data-set-transfer-syntax", what))
    elif encapsulated and not syntax.encapsulated:
        what = f"agreed is {syntax.name}, the pixel data is encapsulated, as compressed ones are"
        faults.append(Fault("data-set-transfer-syntax", what))


def is_shown(tag: int, vr: str) -> bool:
    """Whether a value may be shown: it can be nothing that identifies a patient."""
    if tag in _SHOWN:
        return True
    return vr in _SHOWN_VRS and tag >> 16 != 0x0010 and not tag >> 16 & 1


def describe(examined: Examined, *, unmask: bool) -> str:
    """The elements of an identifier as `Keyword=value`, what may name a patient masked."""
    parts = []
    for tag, value in list(examined.values.items())[:24]:
        vr = vr_of(tag)
        name = keyword_of(tag) or tag_text(tag)
        if not value:
            parts.append(f"{name}=")
        elif unmask or is_shown(tag, vr):
            parts.append(f"{name}={examined.text(tag)[:64]}")
        else:
            parts.append(f"{name}={MASKED}")
    return ", ".join(parts)
