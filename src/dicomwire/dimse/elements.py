"""The elements of group 0000 and how their values are read and written (PS3.7 E; PS3.5 6.2, 7.1.3).

Implicit VR Little Endian only: command sets know no other encoding (PS3.7 6.3.1). Which message has which
of them is said by the message classes of `command`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

NO_DATA_SET = 0x0101  # Command Data Set Type; any other value says that a data set follows (PS3.7 E.1)
DATA_SET_FOLLOWS = 0x0001  # what DCMTK and pynetdicom send
ERROR_COMMENT_LENGTH = 64  # characters of an LO (PS3.5 6.2)

Value = int | str | tuple[int, ...]  # a bool, of data_set, is an int


class ValueRepresentation(NamedTuple):
    """How the values of one kind of element are read and written (PS3.5 6.2).

    Attributes:
        read: bytes to value; struct.error where the length cannot be.
        write: value to element, header and padding included; struct.error where the value cannot be.
        pad: the byte that makes an odd value even, b"" where lengths are fixed.
    """

    read: Callable[[bytes], Value]
    write: Callable[[int, Value], bytes]
    pad: bytes = b""


_HEADER = struct.Struct("<HHI")  # group, element, length (PS3.5 7.1.3)
_US_ELEMENT = struct.Struct("<HHIH")
_US = struct.Struct("<H")
_AT = struct.Struct("<HH")


def _read_us(data: bytes) -> Value:
    value: int = _US.unpack(data)[0]
    return value


def _write_us(element: int, value: Value) -> bytes:
    return _US_ELEMENT.pack(0, element, 2, value)


def _read_ui(data: bytes) -> Value:
    return data.rstrip(b"\0 ").decode("latin-1")


def _write_ui(element: int, value: Value) -> bytes:
    data = str(value).encode("latin-1", "replace")
    if len(data) & 1:
        data += b"\0"
    return _HEADER.pack(0, element, len(data)) + data


def _read_text(data: bytes) -> Value:
    return data.strip(b"\0 ").decode("latin-1")


def _write_text(element: int, value: Value) -> bytes:
    data = str(value).encode("latin-1", "replace")
    if len(data) & 1:
        data += b" "
    return _HEADER.pack(0, element, len(data)) + data


def _write_lo(element: int, value: Value) -> bytes:
    text = str(value)[:ERROR_COMMENT_LENGTH]
    return _write_text(element, "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text).strip())


def _read_at(data: bytes) -> Value:
    return tuple(group << 16 | element for group, element in _AT.iter_unpack(data))


def _write_at(element: int, value: Value) -> bytes:
    tags = value if isinstance(value, tuple) else ()
    data = b"".join(_AT.pack(tag >> 16, tag & 0xFFFF) for tag in tags)
    return _HEADER.pack(0, element, len(data)) + data


def _read_data_set_type(data: bytes) -> Value:
    return _read_us(data) != NO_DATA_SET


def _write_data_set_type(element: int, value: Value) -> bytes:
    return _US_ELEMENT.pack(0, element, 2, DATA_SET_FOLLOWS if value else NO_DATA_SET)


US = ValueRepresentation(_read_us, _write_us)
UI = ValueRepresentation(_read_ui, _write_ui, b"\0")
AE = ValueRepresentation(_read_text, _write_text, b" ")
LO = ValueRepresentation(_read_text, _write_lo, b" ")
AT = ValueRepresentation(_read_at, _write_at)
DATA_SET_TYPE = ValueRepresentation(_read_data_set_type, _write_data_set_type)

GROUP_LENGTH = 0x0000
COMMAND_FIELD = 0x0100

# PS3.7 Table E.1-1: the element in group 0000 of each attribute that a message may have.
ELEMENTS: dict[str, tuple[int, ValueRepresentation]] = {
    "affected_sop_class_uid": (0x0002, UI),
    "requested_sop_class_uid": (0x0003, UI),
    "command_field": (COMMAND_FIELD, US),
    "message_id": (0x0110, US),
    "message_id_being_responded_to": (0x0120, US),
    "move_destination": (0x0600, AE),
    "priority": (0x0700, US),
    "data_set": (0x0800, DATA_SET_TYPE),
    "status": (0x0900, US),
    "offending_element": (0x0901, AT),
    "error_comment": (0x0902, LO),
    "error_id": (0x0903, US),
    "affected_sop_instance_uid": (0x1000, UI),
    "requested_sop_instance_uid": (0x1001, UI),
    "event_type_id": (0x1002, US),
    "attribute_identifier_list": (0x1005, AT),
    "action_type_id": (0x1008, US),
    "number_of_remaining_suboperations": (0x1020, US),
    "number_of_completed_suboperations": (0x1021, US),
    "number_of_failed_suboperations": (0x1022, US),
    "number_of_warning_suboperations": (0x1023, US),
    "move_originator_application_entity_title": (0x1030, AE),
    "move_originator_message_id": (0x1031, US),
}

# PS3.7 Table E.2-1: read past, never sent.
RETIRED_ELEMENTS: dict[int, str] = {
    0x0001: "Length To End",
    0x0010: "Recognition Code",
    0x0200: "Initiator",
    0x0300: "Receiver",
    0x0400: "Find Location",
    0x0850: "Number of Matches",
    0x0860: "Response Sequence Number",
    0x4000: "Dialog Receiver",
    0x4010: "Terminal Type",
    0x5010: "Message Set ID",
    0x5020: "End Message ID",
    0x5110: "Display Format",
    0x5120: "Page Position ID",
    0x5130: "Text Format ID",
    0x5140: "Nor/Rev",
    0x5150: "Add Gray Scale",
    0x5160: "Borders",
    0x5170: "Copies",
    0x5180: "Command Magnification Type",
    0x5190: "Erase",
    0x51A0: "Print",
    0x51B0: "Overlays",
}
