"""HL7 v2 messages: header, character sets, fields as DICOM can hold them (HL7 v2.5.1 2.5-2.7, 2.14.9.18).

What a message says is read here, what it means is for `hl7_orders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import hl7

from dicomwire.errors import DicomwireError
from dicomwire.work.hl7_character_sets import CHARACTER_SETS, ISO_2022

_ESCAPE: Final = b"\x1b"


class ErrorCode(IntEnum):
    """Message error condition codes (HL7 table 0357)."""

    SEGMENT_SEQUENCE = 100
    REQUIRED_FIELD_MISSING = 101
    DATA_TYPE = 102
    TABLE_VALUE_NOT_FOUND = 103
    UNSUPPORTED_MESSAGE_TYPE = 200
    UNKNOWN_KEY = 204
    APPLICATION_INTERNAL = 207


class Rejected(DicomwireError):
    """A message that is not carried out.

    Attributes:
        code: "AR" where the message as such is no use, "AE" where its content is not.
        location: segment and field, as "PID-3"; "" for the whole.
        error: what kind of fault it is.
    """

    def __init__(
        self,
        code: str,
        words: str,
        location: str = "",
        error: ErrorCode = ErrorCode.APPLICATION_INTERNAL,
    ) -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.location = location
        self.error = error


@dataclass(frozen=True, slots=True)
class Header:
    """What an acknowledgement needs of a message's MSH segment; "" for what could not be read.

    Attributes:
        kind, trigger: of the message type (MSH-9), as ORM and O01.
        accept, application: which acknowledgements are wanted (MSH-15, MSH-16; table 0155).
    """

    sender: tuple[str, str] = ("", "")
    receiver: tuple[str, str] = ("", "")
    kind: str = ""
    trigger: str = ""
    control_id: str = ""
    version: str = ""
    accept: str = ""
    application: str = ""


def header_of(message: bytes) -> Header:
    """The header of a message, as far as there is one."""
    if not message.startswith(b"MSH") or len(message) < 8:
        return Header()
    separator = message[3:4]
    fields = [each.decode("ascii", "replace") for each in message.split(b"\r", 1)[0].split(separator)]
    fields += [""] * (20 - len(fields))
    kind = fields[8].split(chr(message[4]))
    return Header(
        (fields[2], fields[3]),
        (fields[4], fields[5]),
        kind[0],
        kind[1] if len(kind) > 1 else "",
        fields[9],
        fields[11],
        fields[14].strip().upper(),
        fields[15].strip().upper(),
    )


def with_segment_ends(message: bytes) -> bytes:
    """A message whose segments end with CR (HL7 v2.5.1 2.5.1).

    Those edited as text end them with LF or with both; many a sender leaves out the last one.
    """
    message = message.replace(b"\r\n", b"\r")
    return message if b"\r" in message else message.replace(b"\n", b"\r")


def _is_cut(message: bytes) -> bool:
    """Whether a message ends within a segment, as far as that can be told.

    A missing end alone says nothing, but half a Study Instance UID must not be taken for one: ZDS-1 is
    UID^number^Application^DICOM (IHE RAD TF-2 4.4).
    """
    last = message.rpartition(b"\r")[2]
    return last.startswith(b"ZDS") and not last.rstrip().endswith(b"^DICOM")


def read(message: bytes, character_set: str = "") -> tuple[hl7.Message, str]:
    """A message, and the Specific Character Set for its text, "" for none in particular.

    character_set: of a message that names none.
    Raises: Rejected.
    """
    if not message.startswith(b"MSH") or len(message) < 9:
        raise Rejected("AR", "message does not begin with MSH", "MSH", ErrorCode.SEGMENT_SEQUENCE)
    if _is_cut(message):
        words = "message is cut: its last segment has no end"
        raise Rejected("AR", words, "", ErrorCode.SEGMENT_SEQUENCE)
    fields = message.split(b"\r", 1)[0].split(message[3:4])
    said = fields[17].decode("ascii", "replace") if len(fields) > 17 else ""
    names = [each.strip().upper() for each in said.split(chr(message[5]))] if said.strip() else []
    names = names or [character_set]
    for name in names:
        if name not in CHARACTER_SETS:
            words = f"character set {name[:20]!a} is not known"
            raise Rejected("AR", words, "MSH-18", ErrorCode.TABLE_VALUE_NOT_FOUND)
    codec, term = CHARACTER_SETS[next((name for name in names if name in ISO_2022), names[0])]
    if _ESCAPE in message and not ISO_2022.intersection(names):
        words = "text has escape sequences of ISO 2022, which MSH-18 does not name"
        raise Rejected("AE", words, "MSH-18", ErrorCode.DATA_TYPE)
    try:
        return hl7.parse(message.decode(codec)), term
    except UnicodeDecodeError as error:
        how = f"MSH-18 {'says' if said.strip() else 'implies'}"
        words = f"byte {error.start} is no {names[0] or 'UTF-8'}, which {how}"
        raise Rejected("AE", words, "MSH-18", ErrorCode.DATA_TYPE) from None
    except (hl7.HL7Exception, ValueError, IndexError, KeyError) as error:
        words = f"message cannot be read: {error}"[:80]
        raise Rejected("AR", words, "", ErrorCode.SEGMENT_SEQUENCE) from None


# Fields


def text(message: hl7.Message, segment: str, number: int, component: int) -> str:
    """One component of the first repetition of a field, without what a DICOM value cannot hold.

    "" where there is none, and for HL7's null.
    """
    try:
        found = str(message.extract_field(segment, 1, number, 1, component, 1) or "")
    except (LookupError, hl7.HL7Exception):
        return ""
    if found == '""':
        return ""
    plain = "".join(each if each.isprintable() else " " for each in found)
    return plain.replace("\\", "/").strip()  # a backslash would make two values of it (PS3.5 6.1.3)


def first(message: hl7.Message, *fields: tuple[str, int]) -> str:
    """The first field that has a value."""
    return next((found for name, number in fields if (found := text(message, name, number, 1))), "")


def required(message: hl7.Message, segment: str, number: int) -> None:
    """Nothing. Raises: Rejected, where a field has no value."""
    if not text(message, segment, number, 1):
        where = f"{segment}-{number}"
        raise Rejected("AE", f"{where} has no value", where, ErrorCode.REQUIRED_FIELD_MISSING)


def name(message: hl7.Message, segment: str, number: int, *, at: int) -> str:
    """A name as DICOM writes it; at: components before the family name (XPN has 0, XCN 1)."""
    parts = [text(message, segment, number, at + n).replace("^", " ").replace("=", " ") for n in range(1, 6)]
    family, given, middle, suffix, prefix = parts
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")
