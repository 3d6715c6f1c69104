"""Bytes <-> items and user information sub-items (PS3.8 9.3.2, D.1; PS3.7 D.3.3).

Lengths are checked before anything is taken. What does not add up is a `PduError`; what a receiver can live
with (padded UIDs, an item given twice) goes to the reader's `violations` and reading goes on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from dicomwire.errors import DecodeError
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    ItemType,
    MaximumLength,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UnknownItem,
    UserIdentityAc,
    UserIdentityRq,
    UserItem,
)
from dicomwire.upper_layer.pdu import HEADER_LENGTH

_ITEM: Final = struct.Struct(">BBH")  # Item-type, reserved, Item-length
_LENGTH: Final = struct.Struct(">H")
_MAXIMUM_LENGTH: Final = struct.Struct(">I")
_WINDOW: Final = struct.Struct(">HH")

PADDING: Final = "\0 "  # UIDs in items are not padded (PS3.8 F); older devices pad them as data sets do

TABLES: Final = {
    ItemType.APPLICATION_CONTEXT: "PS3.8 Table 9-12",
    ItemType.PRESENTATION_CONTEXT_RQ: "PS3.8 Table 9-13",
    ItemType.PRESENTATION_CONTEXT_AC: "PS3.8 Table 9-18",
    ItemType.ABSTRACT_SYNTAX: "PS3.8 Table 9-14",
    ItemType.TRANSFER_SYNTAX: "PS3.8 Table 9-15",
    ItemType.USER_INFORMATION: "PS3.8 Table 9-16",
    ItemType.MAXIMUM_LENGTH: "PS3.8 Table D.1-1",
    ItemType.IMPLEMENTATION_CLASS_UID: "PS3.7 Table D.3-1",
    ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW: "PS3.7 Table D.3-7",
    ItemType.ROLE_SELECTION: "PS3.7 Table D.3-9",
    ItemType.IMPLEMENTATION_VERSION_NAME: "PS3.7 Table D.3-3",
    ItemType.SOP_CLASS_EXTENDED_NEGOTIATION: "PS3.7 Table D.3-11",
    ItemType.SOP_CLASS_COMMON_EXTENDED_NEGOTIATION: "PS3.7 Table D.3-12",
    ItemType.USER_IDENTITY_RQ: "PS3.7 Table D.3-14",
    ItemType.USER_IDENTITY_AC: "PS3.7 Table D.3-15",
}


class PduError(DecodeError):
    """A PDU that cannot be read, or a fault in one that could.

    Its text is `A-ASSOCIATE-RQ byte 74: item 20H says 4096 bytes, 212 remain (PS3.8 Table 9-13)`; `offset`
    counts from the PDU's first byte, header included.
    """

    def __init__(self, pdu: str, what: str, offset: int, *, field: str, section: str) -> None:
        super().__init__(what, offset, field=field, section=section)
        self.pdu = pdu

    def __str__(self) -> str:
        return f"{self.pdu} byte {self.offset}: {self.what} ({self.section})"


class Item(NamedTuple):
    """Where an item lies in the variable field: `start` to `end` is its value."""

    type: int
    reserved: int
    start: int
    end: int


class Reader:
    """Reads the variable field of one PDU; indices count from its first byte, after the PDU header.

    Attributes:
        pdu: the PDU's name, for messages.
        body: the variable field.
        violations: faults that reading went on after.
    """

    def __init__(self, pdu: str, body: memoryview, violations: list[DecodeError]) -> None:
        self.pdu = pdu
        self.body = body
        self.violations = violations

    def error(self, what: str, index: int, *, field: str, section: str) -> PduError:
        return PduError(self.pdu, what, HEADER_LENGTH + index, field=field, section=section)

    def tolerate(self, what: str, index: int, *, field: str, section: str) -> None:
        self.violations.append(self.error(what, index, field=field, section=section))

    def items(self, start: int, end: int, section: str) -> Iterator[Item]:
        """The items between two indices; `section` is that of what holds them."""
        body = self.body
        while start < end:
            if end - start < _ITEM.size:
                what = f"{end - start} bytes remain, the header of an item takes {_ITEM.size}"
                raise self.error(what, start, field="Item-type", section=section)
            type, reserved, length = _ITEM.unpack_from(body, start)
            value = start + _ITEM.size
            if length > end - value:
                what = f"item {type:02X}H says {length} bytes, {end - value} remain"
                table = TABLES.get(type, section)
                raise self.error(what, start, field="Item-length", section=table)
            start = value + length
            yield Item(type, reserved, value, start)

    def take(self, start: int, end: int) -> bytes:
        return self.body[start:end].tobytes()

    def text(self, start: int, end: int) -> str:
        """Characters as they are: legality is judged above, so no byte may be lost here."""
        return str(self.body[start:end], "latin-1")

    def uid(self, start: int, end: int, *, field: str, section: str) -> str:
        """A UID without the padding that some peers add."""
        text = self.text(start, end)
        stripped = text.rstrip(PADDING)
        if stripped != text:
            what = f"{field} {stripped!r} is padded with {len(text) - len(stripped)} NUL or space"
            self.tolerate(what, start, field=field, section=section)
        return stripped

    def counted(self, start: int, end: int, *, field: str, section: str) -> int:
        """End of a field that begins with its own length in two bytes, checked to lie before `end`."""
        if end - start < _LENGTH.size:
            what = f"{end - start} bytes remain, the length of {field} takes {_LENGTH.size}"
            raise self.error(what, start, field=f"{field}-length", section=section)
        length: int = _LENGTH.unpack_from(self.body, start)[0]
        if length > end - start - _LENGTH.size:
            what = f"{field} says {length} bytes, {end - start - _LENGTH.size} remain"
            raise self.error(what, start, field=f"{field}-length", section=section)
        return start + _LENGTH.size + length

    def unknown(self, item: Item) -> UnknownItem:
        return UnknownItem(item.type, self.take(item.start, item.end), item.reserved)

    def user_item(self, item: Item) -> UserItem:
        """The sub-item of a User Information Item at `item`."""
        decode = _DECODERS.get(item.type)
        return decode(self, item) if decode else self.unknown(item)

    def exactly(self, item: Item, length: int, field: str) -> None:
        """Checks that a sub-item of a fixed length has it."""
        if item.end - item.start != length:
            what = f"item {item.type:02X}H has {item.end - item.start} bytes, {field} takes {length}"
            section = TABLES[ItemType(item.type)]
            raise self.error(what, item.start - _ITEM.size, field="Item-length", section=section)


def _maximum_length(reader: Reader, item: Item) -> MaximumLength:
    reader.exactly(item, _MAXIMUM_LENGTH.size, "Maximum-length-received")
    return MaximumLength(_MAXIMUM_LENGTH.unpack_from(reader.body, item.start)[0])


def _implementation_class_uid(reader: Reader, item: Item) -> ImplementationClassUID:
    section = TABLES[ItemType.IMPLEMENTATION_CLASS_UID]
    return ImplementationClassUID(
        reader.uid(item.start, item.end, field="Implementation-class-uid", section=section)
    )


def _implementation_version_name(reader: Reader, item: Item) -> ImplementationVersionName:
    return ImplementationVersionName(reader.text(item.start, item.end).rstrip(PADDING))


def _asynchronous_operations_window(reader: Reader, item: Item) -> AsynchronousOperationsWindow:
    reader.exactly(item, _WINDOW.size, "the two numbers of operations")
    return AsynchronousOperationsWindow(*_WINDOW.unpack_from(reader.body, item.start))


def _role_selection(reader: Reader, item: Item) -> RoleSelection:
    section = TABLES[ItemType.ROLE_SELECTION]
    roles = reader.counted(item.start, item.end, field="SOP-class-uid", section=section)
    if item.end - roles != 2:
        what = f"{item.end - roles} bytes follow the SOP-class-uid, SCU-role and SCP-role take 2"
        raise reader.error(what, roles, field="SCU-role", section=section)
    uid = reader.uid(item.start + _LENGTH.size, roles, field="SOP-class-uid", section=section)
    return RoleSelection(uid, reader.body[roles] != 0, reader.body[roles + 1] != 0)


def _extended_negotiation(reader: Reader, item: Item) -> SOPClassExtendedNegotiation:
    section = TABLES[ItemType.SOP_CLASS_EXTENDED_NEGOTIATION]
    end = reader.counted(item.start, item.end, field="SOP-class-uid", section=section)
    uid = reader.uid(item.start + _LENGTH.size, end, field="SOP-class-uid", section=section)
    return SOPClassExtendedNegotiation(uid, reader.take(end, item.end))


def _common_extended_negotiation(reader: Reader, item: Item) -> SOPClassCommonExtendedNegotiation:
    section = TABLES[ItemType.SOP_CLASS_COMMON_EXTENDED_NEGOTIATION]
    start = item.start
    end = reader.counted(start, item.end, field="SOP-class-uid", section=section)
    sop_class_uid = reader.uid(start + _LENGTH.size, end, field="SOP-class-uid", section=section)
    start, end = end, reader.counted(end, item.end, field="Service-class-uid", section=section)
    service_class_uid = reader.uid(start + _LENGTH.size, end, field="Service-class-uid", section=section)
    field = "Related-general-sop-class-identification"
    start, end = end + _LENGTH.size, reader.counted(end, item.end, field=field, section=section)
    related = []
    while start < end:
        stop = reader.counted(start, end, field="Related-general-sop-class-uid", section=section)
        field = "Related-general-sop-class-uid"
        related.append(reader.uid(start + _LENGTH.size, stop, field=field, section=section))
        start = stop
    return SOPClassCommonExtendedNegotiation(
        sop_class_uid,
        service_class_uid,
        tuple(related),
        version=item.reserved,
        reserved=reader.take(end, item.end),
    )


def _user_identity_rq(reader: Reader, item: Item) -> UserIdentityRq:
    section = TABLES[ItemType.USER_IDENTITY_RQ]
    if item.end - item.start < 2:
        what = f"item 58H has {item.end - item.start} bytes, User-Identity-Type and what follows take 6"
        raise reader.error(what, item.start, field="User-Identity-Type", section=section)
    type, positive_response_requested = reader.body[item.start], reader.body[item.start + 1] != 0
    start = item.start + 2
    end = reader.counted(start, item.end, field="Primary-field", section=section)
    primary = reader.take(start + _LENGTH.size, end)
    if end == item.end:
        reader.tolerate(
            "Secondary-field-length is missing", end, field="Secondary-field-length", section=section
        )
        return UserIdentityRq(type, positive_response_requested, primary)
    stop = reader.counted(end, item.end, field="Secondary-field", section=section)
    if stop != item.end:
        what = f"{item.end - stop} bytes follow the Secondary-field, none should"
        reader.tolerate(what, stop, field="Secondary-field", section=section)
    return UserIdentityRq(type, positive_response_requested, primary, reader.take(end + _LENGTH.size, stop))


def _user_identity_ac(reader: Reader, item: Item) -> UserIdentityAc:
    section = TABLES[ItemType.USER_IDENTITY_AC]
    end = reader.counted(item.start, item.end, field="Server-response", section=section)
    if end != item.end:
        what = f"{item.end - end} bytes follow the Server-response, none should"
        reader.tolerate(what, end, field="Server-response", section=section)
    return UserIdentityAc(reader.take(item.start + _LENGTH.size, end))


_DECODERS: Final[dict[int, Callable[[Reader, Item], UserItem]]] = {
    ItemType.MAXIMUM_LENGTH: _maximum_length,
    ItemType.IMPLEMENTATION_CLASS_UID: _implementation_class_uid,
    ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW: _asynchronous_operations_window,
    ItemType.ROLE_SELECTION: _role_selection,
    ItemType.IMPLEMENTATION_VERSION_NAME: _implementation_version_name,
    ItemType.SOP_CLASS_EXTENDED_NEGOTIATION: _extended_negotiation,
    ItemType.SOP_CLASS_COMMON_EXTENDED_NEGOTIATION: _common_extended_negotiation,
    ItemType.USER_IDENTITY_RQ: _user_identity_rq,
    ItemType.USER_IDENTITY_AC: _user_identity_ac,
}


def encode_item(type: int, value: bytes, reserved: int = 0) -> bytes:
    """An item or sub-item with its header."""
    return _ITEM.pack(type, reserved, len(value)) + value


def encode_unknown(item: UnknownItem) -> bytes:
    return encode_item(item.type, item.data, item.reserved)


def encode_uid(type: int, uid: str) -> bytes:
    """An item that is a UID, not padded (PS3.8 F)."""
    return encode_item(type, uid.encode("latin-1"))


def encode_user_item(item: UserItem) -> bytes:
    """A sub-item of the User Information Item."""
    match item:
        case MaximumLength():
            return encode_item(ItemType.MAXIMUM_LENGTH, _MAXIMUM_LENGTH.pack(item.maximum_length))
        case ImplementationClassUID():
            return encode_uid(ItemType.IMPLEMENTATION_CLASS_UID, item.uid)
        case AsynchronousOperationsWindow():
            value = _WINDOW.pack(item.invoked, item.performed)
            return encode_item(ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW, value)
        case RoleSelection():
            value = _counted(item.sop_class_uid) + bytes((item.scu_role, item.scp_role))
            return encode_item(ItemType.ROLE_SELECTION, value)
        case ImplementationVersionName():
            return encode_item(ItemType.IMPLEMENTATION_VERSION_NAME, item.name.encode("latin-1"))
        case SOPClassExtendedNegotiation():
            value = _counted(item.sop_class_uid) + item.information
            return encode_item(ItemType.SOP_CLASS_EXTENDED_NEGOTIATION, value)
        case SOPClassCommonExtendedNegotiation():
            related = b"".join(map(_counted, item.related_general_sop_class_uids))
            value = b"".join(
                (
                    _counted(item.sop_class_uid),
                    _counted(item.service_class_uid),
                    _counted(related),
                    item.reserved,
                )
            )
            return encode_item(ItemType.SOP_CLASS_COMMON_EXTENDED_NEGOTIATION, value, item.version)
        case UserIdentityRq():
            head = bytes((item.type, item.positive_response_requested))
            value = head + _counted(item.primary) + _counted(item.secondary)
            return encode_item(ItemType.USER_IDENTITY_RQ, value)
        case UserIdentityAc():
            return encode_item(ItemType.USER_IDENTITY_AC, _counted(item.server_response))
        case UnknownItem():
            return encode_unknown(item)


def _counted(value: str | bytes) -> bytes:
    data = value.encode("latin-1") if isinstance(value, str) else value
    return _LENGTH.pack(len(data)) + data
