"""The 23 DIMSE command messages and their command sets (PS3.7 6.3.1, 9.3, 10.3, C, E).

One dataclass a message, fields in the standard's names; `ELEMENTS` says which element each field is. A field
without a default is needed to act on the message: `decode` raises without it. Whatever else is wrong becomes
a violation, and the message is read all the same. Legality (a known SOP class, a valid UID) is judged by the
services. Command sets are Implicit VR Little Endian, whatever the transfer syntax of their context.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from enum import Enum, IntEnum
from operator import attrgetter
from typing import ClassVar, NamedTuple, NoReturn

from dicomwire.dimse.elements import (
    COMMAND_FIELD,
    ELEMENTS,
    GROUP_LENGTH,
    RETIRED_ELEMENTS,
    Value,
    ValueRepresentation,
)
from dicomwire.errors import DecodeError, LocalProtocolError
from dicomwire.upper_layer.events import Violation
from dicomwire.upper_layer.pdu import Buffer

_HEADER = struct.Struct("<HHI")  # group, element, length (PS3.5 7.1.3)
_GROUP_LENGTH = struct.Struct("<HHII")  # the element whole; its value counts the bytes after it
_MAXIMUM_VIOLATIONS = 32  # told of one command set: a peer's 64 KiB of nonsense is no 8,000 log lines


class Priority(IntEnum):
    """Values of Priority (0000,0700) (PS3.7 9.3)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class Command:
    """What all command messages share.

    Attributes:
        name: the message's name in the standard, such as `C-STORE-RQ`.
        command_field: the value of Command Field (0000,0100).
        carries: True where a data set always belongs to it, None where one may, False where none does.
        data_set: a data set follows: Command Data Set Type (0000,0800) is not 0101H.
    """

    name: ClassVar[str]
    command_field: ClassVar[int]
    carries: ClassVar[bool | None] = False
    _: KW_ONLY
    data_set: bool = False


@dataclass(frozen=True, slots=True)
class Request(Command):
    """A command that asks for an operation or notifies; the response names its message ID."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Response(Command):
    """A command that answers; the fields about its status are those of PS3.7 Annex C."""

    message_id_being_responded_to: int
    status: int
    _: KW_ONLY
    affected_sop_class_uid: str | None = None
    offending_element: tuple[int, ...] = ()
    error_comment: str | None = None
    error_id: int | None = None


@dataclass(frozen=True, slots=True)
class SubOperationsResponse(Response):
    """An answer that counts C-STORE sub-operations (PS3.7 Tables 9.3-7, 9.3-10)."""

    _: KW_ONLY
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


@dataclass(frozen=True, slots=True)
class NormalizedResponse(Response):
    """An answer of the DIMSE-N services, which may name the instance and the attributes it is about."""

    _: KW_ONLY
    affected_sop_instance_uid: str | None = None
    attribute_identifier_list: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CStoreRq(Request):
    """C-STORE-RQ (PS3.7 Table 9.3-1)."""

    name = "C-STORE-RQ"
    command_field = 0x0001
    carries = True
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    priority: int = Priority.MEDIUM
    move_originator_application_entity_title: str | None = None
    move_originator_message_id: int | None = None
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CStoreRsp(Response):
    """C-STORE-RSP (PS3.7 Table 9.3-2)."""

    name = "C-STORE-RSP"
    command_field = 0x8001
    _: KW_ONLY
    affected_sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class CFindRq(Request):
    """C-FIND-RQ (PS3.7 Table 9.3-3)."""

    name = "C-FIND-RQ"
    command_field = 0x0020
    carries = True
    affected_sop_class_uid: str
    priority: int = Priority.MEDIUM
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CFindRsp(Response):
    """C-FIND-RSP (PS3.7 Table 9.3-4)."""

    name = "C-FIND-RSP"
    command_field = 0x8020
    carries = None


@dataclass(frozen=True, slots=True)
class CGetRq(Request):
    """C-GET-RQ (PS3.7 Table 9.3-6)."""

    name = "C-GET-RQ"
    command_field = 0x0010
    carries = True
    affected_sop_class_uid: str
    priority: int = Priority.MEDIUM
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CGetRsp(SubOperationsResponse):
    """C-GET-RSP (PS3.7 Table 9.3-7)."""

    name = "C-GET-RSP"
    command_field = 0x8010
    carries = None


@dataclass(frozen=True, slots=True)
class CMoveRq(Request):
    """C-MOVE-RQ (PS3.7 Table 9.3-9)."""

    name = "C-MOVE-RQ"
    command_field = 0x0021
    carries = True
    affected_sop_class_uid: str
    move_destination: str
    priority: int = Priority.MEDIUM
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CMoveRsp(SubOperationsResponse):
    """C-MOVE-RSP (PS3.7 Table 9.3-10)."""

    name = "C-MOVE-RSP"
    command_field = 0x8021
    carries = None


@dataclass(frozen=True, slots=True)
class CEchoRq(Request):
    """C-ECHO-RQ (PS3.7 Table 9.3-12)."""

    name = "C-ECHO-RQ"
    command_field = 0x0030
    affected_sop_class_uid: str


@dataclass(frozen=True, slots=True)
class CEchoRsp(Response):
    """C-ECHO-RSP (PS3.7 Table 9.3-13)."""

    name = "C-ECHO-RSP"
    command_field = 0x8030


@dataclass(frozen=True, slots=True)
class CCancelRq(Command):
    """C-CANCEL-RQ, which has no message ID and no answer of its own (PS3.7 Tables 9.3-5, 9.3-8, 9.3-11)."""

    name = "C-CANCEL-RQ"
    command_field = 0x0FFF
    message_id_being_responded_to: int


@dataclass(frozen=True, slots=True)
class NEventReportRq(Request):
    """N-EVENT-REPORT-RQ (PS3.7 Table 10.3-1)."""

    name = "N-EVENT-REPORT-RQ"
    command_field = 0x0100
    carries = None
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    event_type_id: int


@dataclass(frozen=True, slots=True)
class NEventReportRsp(NormalizedResponse):
    """N-EVENT-REPORT-RSP (PS3.7 Table 10.3-2)."""

    name = "N-EVENT-REPORT-RSP"
    command_field = 0x8100
    carries = None
    _: KW_ONLY
    event_type_id: int | None = None


@dataclass(frozen=True, slots=True)
class NGetRq(Request):
    """N-GET-RQ (PS3.7 Table 10.3-3)."""

    name = "N-GET-RQ"
    command_field = 0x0110
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    attribute_identifier_list: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NGetRsp(NormalizedResponse):
    """N-GET-RSP (PS3.7 Table 10.3-4)."""

    name = "N-GET-RSP"
    command_field = 0x8110
    carries = None


@dataclass(frozen=True, slots=True)
class NSetRq(Request):
    """N-SET-RQ (PS3.7 Table 10.3-5)."""

    name = "N-SET-RQ"
    command_field = 0x0120
    carries = True
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class NSetRsp(NormalizedResponse):
    """N-SET-RSP (PS3.7 Table 10.3-6)."""

    name = "N-SET-RSP"
    command_field = 0x8120
    carries = None


@dataclass(frozen=True, slots=True)
class NActionRq(Request):
    """N-ACTION-RQ (PS3.7 Table 10.3-7)."""

    name = "N-ACTION-RQ"
    command_field = 0x0130
    carries = None
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    action_type_id: int


@dataclass(frozen=True, slots=True)
class NActionRsp(NormalizedResponse):
    """N-ACTION-RSP (PS3.7 Table 10.3-8)."""

    name = "N-ACTION-RSP"
    command_field = 0x8130
    carries = None
    _: KW_ONLY
    action_type_id: int | None = None


@dataclass(frozen=True, slots=True)
class NCreateRq(Request):
    """N-CREATE-RQ (PS3.7 Table 10.3-9)."""

    name = "N-CREATE-RQ"
    command_field = 0x0140
    carries = None
    affected_sop_class_uid: str
    affected_sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class NCreateRsp(NormalizedResponse):
    """N-CREATE-RSP (PS3.7 Table 10.3-10)."""

    name = "N-CREATE-RSP"
    command_field = 0x8140
    carries = None


@dataclass(frozen=True, slots=True)
class NDeleteRq(Request):
    """N-DELETE-RQ (PS3.7 Table 10.3-11)."""

    name = "N-DELETE-RQ"
    command_field = 0x0150
    requested_sop_class_uid: str
    requested_sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class NDeleteRsp(NormalizedResponse):
    """N-DELETE-RSP (PS3.7 Table 10.3-12)."""

    name = "N-DELETE-RSP"
    command_field = 0x8150


_NAMES = {element: name for name, (element, _) in ELEMENTS.items()} | {GROUP_LENGTH: "group_length"}
_EXPLICIT_VRS = (b"UL", b"US", b"UI")
_PADS = (b"\0", b" ")

COMMANDS: dict[int, type[Command]] = {
    message.command_field: message
    for message in (
        CStoreRq, CStoreRsp, CGetRq, CGetRsp, CFindRq, CFindRsp, CMoveRq, CMoveRsp, CEchoRq, CEchoRsp,
        NEventReportRq, NEventReportRsp, NGetRq, NGetRsp, NSetRq, NSetRsp, NActionRq, NActionRsp,
        NCreateRq, NCreateRsp, NDeleteRq, NDeleteRsp, CCancelRq,
    )
}  # fmt: skip


_BY_COMMAND_FIELD = {field.to_bytes(2, "little"): message for field, message in COMMANDS.items()}


class Usage(Enum):
    """What becomes of a message that lacks a field."""

    NEEDED = "needed"  # it cannot be acted on
    MANDATORY = "mandatory"  # the standard asks for it, peers leave it out, and the message is clear without
    OPTIONAL = "optional"


class Field(NamedTuple):
    """One field of one message: its dataclass field, its element in group 0000, the element's VR."""

    name: str
    element: int
    vr: ValueRepresentation
    usage: Usage


def _fields_of(message: type[Command]) -> tuple[Field, ...]:
    known = []
    for field in fields(message):
        needed = field.default is MISSING or field.name == "data_set"
        usage = Usage.NEEDED if needed else Usage.MANDATORY if field.name == "priority" else Usage.OPTIONAL
        known.append(Field(field.name, *ELEMENTS[field.name], usage))
    return tuple(sorted(known, key=lambda field: field.element))


FIELDS: dict[type[Command], tuple[Field, ...]] = {
    message: _fields_of(message) for message in COMMANDS.values()
}


class _Layout(NamedTuple):
    """What `encode` needs of one message: its elements in ascending order, and their values at one go."""

    elements: tuple[tuple[int, Callable[[int, Value], bytes]], ...]
    values: Callable[[Command], tuple[Value | None, ...]]


def _layout_of(message: type[Command]) -> _Layout:
    names = sorted(
        ["command_field", *(field.name for field in FIELDS[message])], key=lambda name: ELEMENTS[name][0]
    )
    return _Layout(tuple((ELEMENTS[name][0], ELEMENTS[name][1].write) for name in names), attrgetter(*names))


_LAYOUTS = {message: _layout_of(message) for message in FIELDS}


def encode(command: Command) -> bytes:
    """The command set of a message, group length first, elements ascending (PS3.7 6.3.1).

    Fields that are None or () are left out. An Error Comment is cut to its 64 characters, and what is not
    printable ASCII in it becomes "?".

    Raises: LocalProtocolError, when a number does not fit its element.
    """
    elements, values = _LAYOUTS[type(command)]
    try:
        body = b"".join(
            [
                write(element, value)
                for (element, write), value in zip(elements, values(command), strict=True)
                if value is not None and value != ()
            ]
        )
    except struct.error as error:
        raise LocalProtocolError(f"{command} has a number that its element cannot hold: {error}") from error
    return _GROUP_LENGTH.pack(0, GROUP_LENGTH, 4, len(body)) + body


class Decoded(NamedTuple):
    """A command message, and what was wrong with its command set."""

    command: Command
    violations: tuple[Violation, ...]


def decode(data: Buffer) -> Decoded:
    """Read one command set.

    Args:
        data: the whole command set, its fragments joined.

    Returns: the message, and a violation for each thing that is wrong but not needed to act: group length,
        order, padding, retired, unknown and foreign elements, Priority. Offsets count from the command set's
        first byte.
    Raises: DecodeError, when lengths do not add up, the Command Field is unknown or a needed field missing.
    Source: PS3.7 6.3.1, 9.3, 10.3, E.
    """
    raw = bytes(data)
    violations: list[Violation] = []
    elements = _elements(raw, violations)
    message = _BY_COMMAND_FIELD.get(elements.pop(COMMAND_FIELD, b"")) or _no_message(raw)
    values: dict[str, Value] = {}
    for name, element, (read, _, pad), usage in FIELDS[message]:
        stored = elements.pop(element, None)
        if stored is None:
            if usage is not Usage.OPTIONAL:
                violations.append(_missing(raw, message, name, usage))
            continue
        try:
            value = read(stored)
        except struct.error:
            violations.append(_missized(raw, message, name, usage))
            continue
        if not stored and usage is not Usage.NEEDED:
            continue  # an optional field with an empty value says nothing
        if pad and (stored[-1:] in _PADS or len(stored) & 1) and not _well_padded(stored, pad):
            what = f"{message.name}: {_words(element)} is padded against its VR: {stored!r}"
            violations.append(Violation(what, _offset(raw, element), name, "PS3.5 6.2"))
        values[name] = value
    make: Callable[..., Command] = message
    command = make(**values)
    if elements.pop(GROUP_LENGTH, b"") != (len(raw) - 12).to_bytes(4, "little"):
        violations.append(_wrong_group_length(raw))
    if elements:
        violations += _foreign(raw, message, elements)
    if command.data_set is not message.carries is not None:
        violations.append(_unusual_data_set(raw, command))
    return Decoded(command, tuple(violations[:_MAXIMUM_VIOLATIONS]))


def _elements(raw: bytes, violations: list[Violation]) -> dict[int, bytes]:
    """The values by tag, the first of each; notes what is out of order or there twice."""
    values: dict[int, bytes] = {}
    unpack = _HEADER.unpack_from
    end = len(raw)
    offset = 0
    previous = -1
    try:
        while offset < end:
            group, element, length = unpack(raw, offset)
            start = offset + 8
            stop = start + length
            if stop > end:
                raise _overlong(raw, offset, group << 16 | element, length)
            tag = group << 16 | element
            if tag > previous:
                values[tag] = raw[start:stop]
                previous = tag
            else:
                what = "is there twice, the first is taken" if tag in values else "is out of ascending order"
                violations.append(Violation(f"{_words(tag)} {what}", offset, _name(tag), "PS3.7 6.3.1"))
                values.setdefault(tag, raw[start:stop])
            offset = stop
    except struct.error:
        what = f"command set ends in {end - offset} bytes that are no element"
        raise DecodeError(what, offset, section="PS3.7 6.3.1") from None
    return values


def _overlong(raw: bytes, offset: int, tag: int, length: int) -> DecodeError:
    what = f"{_words(tag)} says {length} bytes, {len(raw) - offset - 8} remain"
    if raw[offset + 4 : offset + 6] in _EXPLICIT_VRS:
        what += "; it looks like Explicit VR, command sets are Implicit VR Little Endian"
    return DecodeError(what, offset, field=_name(tag), section="PS3.7 6.3.1")


def _no_message(raw: bytes) -> NoReturn:
    offset = _offset(raw, COMMAND_FIELD)
    value = raw[offset + 8 : offset + 10][::-1].hex().upper()
    what = (
        f"Command Field (0000,0100) {value}H is no message"
        if value
        else "command set without a Command Field"
    )
    raise DecodeError(what, offset, field="command_field", section="PS3.7 E.1")


def _well_padded(stored: bytes, pad: bytes) -> bool:
    """Even, by one NUL at the end of a UID, by any spaces at the end of other text (PS3.5 6.2, 9.1)."""
    padding = stored[len(stored.rstrip(b"\0 ")) :]
    return not len(stored) & 1 and (padding in (b"", pad) or (pad == b" " and not padding.strip(pad)))


def _missing(raw: bytes, message: type[Command], name: str, usage: Usage) -> Violation:
    what = f"{message.name} without {_words(ELEMENTS[name][0])}"
    if usage is Usage.NEEDED:
        raise DecodeError(what, len(raw), field=name, section="PS3.7 E.1")
    return Violation(what, len(raw), name, "PS3.7 E.1")


def _missized(raw: bytes, message: type[Command], name: str, usage: Usage) -> Violation:
    element = ELEMENTS[name][0]
    what = f"{message.name}: {_words(element)} has a length that its VR cannot have"
    if usage is Usage.NEEDED:
        raise DecodeError(what, _offset(raw, element), field=name, section="PS3.5 6.2")
    return Violation(what, _offset(raw, element), name, "PS3.5 6.2")


def _wrong_group_length(raw: bytes) -> Violation:
    what = f"command set without a group length of {len(raw) - 12}, the bytes that follow it"
    return Violation(what, _offset(raw, GROUP_LENGTH), "group_length", "PS3.7 6.3.1")


def _foreign(raw: bytes, message: type[Command], elements: Iterable[int]) -> Iterator[Violation]:
    for tag in elements:
        what = f"{message.name} has {_words(tag)}, which is none of its elements"
        section = "PS3.7 E.2" if tag in RETIRED_ELEMENTS else "PS3.7 E.1"
        yield Violation(what, _offset(raw, tag), _name(tag), section)


def _unusual_data_set(raw: bytes, command: Command) -> Violation:
    what = f"{command.name} {'with' if command.data_set else 'without'} a data set"
    return Violation(what, _offset(raw, ELEMENTS["data_set"][0]), "data_set", "PS3.7 E.1")


def _name(tag: int) -> str:
    """A tag's name as `Violation.field` has it."""
    return _NAMES.get(tag) or RETIRED_ELEMENTS.get(tag, "")


def _words(tag: int) -> str:
    name = _name(tag).replace("_", " ")
    return f"{name or 'element'} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _offset(raw: bytes, wanted: int) -> int:
    """Where an element starts in a command set that adds up; found again only where something is wrong."""
    offset = 0
    while offset < len(raw):
        group, element, length = _HEADER.unpack_from(raw, offset)
        if group << 16 | element == wanted:
            return offset
        offset += 8 + length
    return offset
