"""Command sets to messages and back (PS3.7 6.3.1, E).

`FIELDS` says which element each field of a message is. A message that lacks a field it needs is an error;
whatever else is wrong becomes a violation, and the message is read all the same. Command sets are Implicit VR
Little Endian, whatever the transfer syntax of their context.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields
from enum import Enum
from operator import attrgetter
from typing import NamedTuple

from dicomwire.dimse.command import COMMANDS, RESPONSE, Command, UnrecognizedRq, UnrecognizedRsp
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

_NAMES = {element: name for name, (element, _) in ELEMENTS.items()} | {GROUP_LENGTH: "group_length"}
_ELEMENTS = ELEMENTS | {"unrecognized_field": ELEMENTS["command_field"]}
_EXPLICIT_VRS = (b"UL", b"US", b"UI")
_PADS = (b"\0", b" ")
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
        known.append(Field(field.name, *_ELEMENTS[field.name], usage))
    return tuple(sorted(known, key=lambda field: field.element))


FIELDS: dict[type[Command], tuple[Field, ...]] = {
    message: _fields_of(message) for message in (*COMMANDS.values(), UnrecognizedRq, UnrecognizedRsp)
}


class _Layout(NamedTuple):
    """What `encode` needs of one message: its elements in ascending order, and their values at one go."""

    elements: tuple[tuple[int, Callable[[int, Value], bytes]], ...]
    values: Callable[[Command], tuple[Value | None, ...]]


def _layout_of(message: type[Command]) -> _Layout:
    own = [field.name for field in FIELDS[message]]
    if "unrecognized_field" not in own:
        own.append("command_field")
    names = sorted(own, key=lambda name: _ELEMENTS[name][0])
    elements = tuple((_ELEMENTS[name][0], _ELEMENTS[name][1].write) for name in names)
    return _Layout(elements, attrgetter(*names))


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


_UNRECOGNIZED: Callable[..., UnrecognizedRq] = UnrecognizedRq


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
    Raises: DecodeError, when lengths do not add up, a needed field is missing, or the Command Field is that
        of no message, unless it is a request's and it can be answered (`UnrecognizedRq`).
    Source: PS3.7 6.3.1, 9.3, 10.3, E.
    """
    raw = bytes(data)
    violations: list[Violation] = []
    elements = _elements(raw, violations)
    message = _BY_COMMAND_FIELD.get(elements.get(COMMAND_FIELD, b""))
    if message is None:
        return _unrecognized(raw, elements, violations)
    del elements[COMMAND_FIELD]
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


def _unrecognized(raw: bytes, elements: dict[int, bytes], violations: list[Violation]) -> Decoded:
    """A request for an operation that the standard does not know, if it can be answered."""
    stored = elements.get(COMMAND_FIELD)
    if not stored:
        raise DecodeError(
            "command set without a Command Field", len(raw), field="command_field", section="PS3.7 E.1"
        )
    what = f"Command Field (0000,0100) {stored[:2][::-1].hex().upper()}H is no message"
    offset = _offset(raw, COMMAND_FIELD)
    values = {}
    for name, element, (read, _, _), _ in FIELDS[UnrecognizedRq]:
        try:
            values[name] = read(elements[element])
        except (KeyError, struct.error):
            raise DecodeError(what, offset, field="command_field", section="PS3.7 E.1") from None
    request = _UNRECOGNIZED(**values)
    if request.unrecognized_field & RESPONSE:
        raise DecodeError(what, offset, field="command_field", section="PS3.7 E.1")
    violations.append(Violation(what, offset, "command_field", "PS3.7 E.1"))
    return Decoded(request, tuple(violations[:_MAXIMUM_VIOLATIONS]))


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
