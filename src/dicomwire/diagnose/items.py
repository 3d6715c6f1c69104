"""Items of A-ASSOCIATE PDUs as records with offsets, whatever they are (PS3.8 9.3.2, D.1; PS3.7 D.3.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.data_set import MASKED
from dicomwire.diagnose.elements import Record
from dicomwire.diagnose.finding import escaped
from dicomwire.uids import name_of

_FIXED: Final = 68  # bytes before the first item
_ASSOCIATE: Final = struct.Struct(">H2x16s16s")

_NAMES: Final = {
    0x10: "Application Context",
    0x20: "Presentation Context (proposed)",
    0x21: "Presentation Context (result)",
    0x30: "Abstract Syntax",
    0x40: "Transfer Syntax",
    0x50: "User Information",
    0x51: "Maximum Length",
    0x52: "Implementation Class UID",
    0x53: "Asynchronous Operations Window",
    0x54: "SCP/SCU Role Selection",
    0x55: "Implementation Version Name",
    0x56: "SOP Class Extended Negotiation",
    0x57: "SOP Class Common Extended Negotiation",
    0x58: "User Identity (request)",
    0x59: "User Identity (answer)",
}
_UIDS: Final = frozenset({0x10, 0x30, 0x40, 0x52})
_QUERIES: Final = ("1.2.840.10008.5.1.4.1.2.", "1.2.840.10008.5.1.4.31")
_QUERY_OPTIONS: Final = (
    *("relational", "date_time_matching", "fuzzy_matching", "timezone_adjustment"),
    *("enhanced_multi_frame_conversion",),
)


def associate_fields(body: bytes) -> Record:
    """The fixed fields of an A-ASSOCIATE-RQ or -AC."""
    if len(body) < _ASSOCIATE.size:
        return {}
    version, called, calling = _ASSOCIATE.unpack_from(body)
    return {
        "protocol_version": version,
        "called_ae_title": escaped(called.decode("latin-1").strip("\0 ")),
        "calling_ae_title": escaped(calling.decode("latin-1").strip("\0 ")),
    }


def item_records(body: bytes, start: int, *, unmask: bool) -> Iterator[Record]:
    """The items of an A-ASSOCIATE-RQ or -AC.

    Args:
        body: the PDU's variable field.
        start: its first byte's offset in the stream.
        unmask: show credentials.
    """
    yield from _items(body, _FIXED, len(body), start, unmask=unmask)


def _items(body: bytes, at: int, end: int, start: int, *, unmask: bool) -> Iterator[Record]:
    while at + 4 <= end:
        kind, length = body[at], int.from_bytes(body[at + 2 : at + 4], "big")
        name = _NAMES.get(kind, "unknown")
        record: Record = {"offset": start + at, "type": kind, "name": name, "length": length}
        value, at = at + 4, at + 4 + length
        if at > end:
            record["fault"] = f"it says {length} bytes, {end - value} remain"
            yield record
            return
        record |= _fields(kind, body[value:at], unmask=unmask)
        if kind in (0x20, 0x21):
            record["items"] = list(_items(body, value + 4, at, start, unmask=unmask))
        elif kind == 0x50:
            record["items"] = list(_items(body, value, at, start, unmask=unmask))
        yield record
    if at < end:
        yield {"offset": start + at, "fault": f"{end - at} bytes remain, the header of an item takes 4"}


def _fields(kind: int, value: bytes, *, unmask: bool) -> Record:
    """What an item says; {} where its length does not fit."""
    try:
        if kind in _UIDS:
            uid = escaped(value.decode("latin-1").rstrip("\0 "))
            return {"uid": uid, "words": name_of(uid)}
        if kind == 0x20:
            return {"id": value[0]}
        if kind == 0x21:
            return {"id": value[0], "result": value[2]}
        if kind == 0x51:
            return {"maximum_length": struct.unpack(">I", value)[0]}
        if kind == 0x53:
            invoked, performed = struct.unpack(">HH", value)
            return {"invoked": invoked, "performed": performed}
        if kind == 0x54:
            sop_class, rest = _counted(value)
            fields: Record = {"uid": _text(sop_class), "uid_length": len(sop_class)}
            return fields | {"scu_role": rest[0], "scp_role": rest[1]}
        if kind == 0x55:
            return {"version_name": _text(value)}
        if kind in (0x56, 0x57):
            sop_class, rest = _counted(value)
            fields = {"uid": _text(sop_class), "uid_length": len(sop_class), "data": rest.hex(" ")}
            return fields | _query_options(_text(sop_class), rest) if kind == 0x56 else fields
        if kind == 0x58:
            primary, rest = _counted(value[2:])
            secondary, _ = _counted(rest)
            return {
                "identity_type": value[0],
                "positive_response_requested": value[1],
                "primary_length": len(primary),
                "secondary_length": len(secondary),
                "primary": _text(primary) if unmask else MASKED,
                "secondary": _text(secondary) if unmask else MASKED,
            }
        if kind == 0x59:
            return {"response_length": len(_counted(value)[0])}
    except (struct.error, IndexError):
        return {"fault": f"{len(value)} bytes do not make this item"}
    return {} if kind == 0x50 else {"data": value[:64].hex(" ")}


def _query_options(sop_class: str, data: bytes) -> Record:
    """What a query's extended negotiation asks for, octet by octet (PS3.4 C.5.1.1 to C.5.3.1, K.5.1)."""
    if not sop_class.startswith(_QUERIES):
        return {}
    return dict(zip(_QUERY_OPTIONS, data, strict=False))


def _counted(value: bytes) -> tuple[bytes, bytes]:
    length = struct.unpack_from(">H", value)[0]
    if length > len(value) - 2:
        raise struct.error("the length does not fit")
    return value[2 : 2 + length], value[2 + length :]


def _text(value: bytes) -> str:
    return escaped(value.decode("utf-8", "replace").rstrip("\0 "))
