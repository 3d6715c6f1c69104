"""Bytes <-> PDUs (PS3.8 9.3).

The codec fails only where lengths do not add up, and keeps what it does not know; whether a PDU is legal is
judged by the state table and by negotiation. Received P-DATA does not come this way: `protocol` streams it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

from dicomwire.errors import DecodeError, LocalProtocolError
from dicomwire.upper_layer.item_codec import (
    TABLES,
    Item,
    PduError,
    Reader,
    encode_item,
    encode_uid,
    encode_unknown,
    encode_user_item,
)
from dicomwire.upper_layer.items import ContextResult, ItemType, ProposedContext, UnknownItem, UserItem
from dicomwire.upper_layer.pdu import (
    HEADER_LENGTH,
    PDU_NAMES,
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    Buffer,
    PData,
    Pdu,
    PduType,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)

__all__ = ["PduError", "decode", "decode_titles", "encode", "with_titles"]

HEADER: Final = struct.Struct(">BxI")  # PDU-type, reserved, PDU-length
VALUE: Final = struct.Struct(">IBB")  # Item-length, Presentation-context-ID, message control header
_ASSOCIATE: Final = struct.Struct(">H2x16s16s32x")  # Protocol-version, Called- and Calling-AE-title
_TITLES_START: Final = HEADER_LENGTH + 4  # byte of the PDU at which Called-AE-title begins
_FOUR: Final = struct.Struct(">4B")

_PDU_TABLES: Final = {
    PduType.A_ASSOCIATE_RQ: "PS3.8 Table 9-11",
    PduType.A_ASSOCIATE_AC: "PS3.8 Table 9-17",
    PduType.A_ASSOCIATE_RJ: "PS3.8 Table 9-21",
    PduType.P_DATA_TF: "PS3.8 Table 9-22",
    PduType.A_RELEASE_RQ: "PS3.8 Table 9-24",
    PduType.A_RELEASE_RP: "PS3.8 Table 9-25",
    PduType.A_ABORT: "PS3.8 Table 9-26",
}
VALUE_TABLE: Final = "PS3.8 Table 9-23"


def decode(type: int, body: Buffer, violations: list[DecodeError] | None = None) -> Pdu:
    """One PDU from its variable field.

    Args:
        type: PDU-type, the first byte of the header.
        body: all bytes after the header; copied where the PDU keeps bytes, but for the values of P-DATA-TF,
            which are views into it.
        violations: takes what is wrong but can be lived with.

    Raises: DecodeError (a `PduError`), when the type is unknown or lengths do not add up; `offset` counts
        from the PDU's first byte, header included.
    """
    if type not in _DECODERS:
        what = f"PDU-type {type:02X}H is unknown"
        raise PduError("PDU", what, 0, field="PDU-type", section="PS3.8 9.3.1")
    name = PDU_NAMES[PduType(type)]
    return _DECODERS[type](Reader(name, memoryview(body), [] if violations is None else violations))


def decode_titles(body: Buffer, known: AssociateRq) -> AssociateRq:
    """An A-ASSOCIATE-RQ whose items, byte 68 of the variable field and on, are those of one that is known."""
    version, called, calling = _ASSOCIATE.unpack_from(body)
    return AssociateRq(
        _ae_title(called),
        _ae_title(calling),
        known.presentation_contexts,
        known.user_information,
        known.application_context_name,
        version,
        known.unknown_items,
    )


def with_titles(encoded: bytes, called_ae_title: str, calling_ae_title: str) -> bytes:
    """The bytes of an A-ASSOCIATE-AC with other AE titles in them, header and all.

    Raises: LocalProtocolError, when a title does not fit its field.
    """
    try:
        titles = _encode_ae_title(called_ae_title) + _encode_ae_title(calling_ae_title)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from error
    return encoded[:_TITLES_START] + titles + encoded[_TITLES_START + len(titles) :]


def encode(pdu: Pdu) -> bytes:
    """The bytes of a PDU, header and all; reserved bytes are 00H.

    Raises: LocalProtocolError, when a value does not fit its field.
    """
    try:
        match pdu:
            case AssociateRq():
                contexts = map(_encode_proposed_context, pdu.presentation_contexts)
                return _encode_associate(PduType.A_ASSOCIATE_RQ, pdu, contexts)
            case AssociateAc():
                results = map(_encode_context_result, pdu.presentation_contexts)
                return _encode_associate(PduType.A_ASSOCIATE_AC, pdu, results)
            case AssociateRj():
                return _pdu(PduType.A_ASSOCIATE_RJ, _FOUR.pack(0, pdu.result, pdu.source, pdu.reason))
            case PData():
                return _pdu(PduType.P_DATA_TF, b"".join(map(_encode_value, pdu.values)))
            case ReleaseRq():
                return _pdu(PduType.A_RELEASE_RQ, bytes(4))
            case ReleaseRp():
                return _pdu(PduType.A_RELEASE_RP, bytes(4))
            case Abort():
                return _pdu(PduType.A_ABORT, _FOUR.pack(0, 0, pdu.source, pdu.reason))
    except (struct.error, UnicodeEncodeError, ValueError) as error:
        name = pdu.__class__.__name__
        raise LocalProtocolError(f"{name} has a value that does not fit its field: {error}") from error


def _associate(
    reader: Reader, type: PduType, context_type: ItemType
) -> tuple[int, str, str, str, list[Item], tuple[UserItem, ...], tuple[UnknownItem, ...]]:
    """What A-ASSOCIATE-RQ and -AC have in common, and where their presentation context items are."""
    body, table = reader.body, _PDU_TABLES[type]
    if len(body) < _ASSOCIATE.size:
        what = f"PDU-length says {len(body)} bytes, the fixed fields take {_ASSOCIATE.size}"
        raise reader.error(what, 2 - HEADER_LENGTH, field="PDU-length", section=table)
    version, called, calling = _ASSOCIATE.unpack_from(body)
    names: list[str] = []
    contexts: list[Item] = []
    user_items: list[UserItem] = []
    user_information = 0
    unknown: list[UnknownItem] = []
    for item in reader.items(_ASSOCIATE.size, len(body), table):
        if item.type == context_type:
            contexts.append(item)
        elif item.type == ItemType.APPLICATION_CONTEXT:
            section = TABLES[ItemType.APPLICATION_CONTEXT]
            names.append(reader.uid(item.start, item.end, field="Application-context-name", section=section))
            _once(reader, item, len(names), "Application Context Item", table)
        elif item.type == ItemType.USER_INFORMATION:
            user_information += 1
            _once(reader, item, user_information, "User Information Item", table)
            section = TABLES[ItemType.USER_INFORMATION]
            user_items += map(reader.user_item, reader.items(item.start, item.end, section))
        else:
            unknown.append(reader.unknown(item))
    return (
        version,
        _ae_title(called),
        _ae_title(calling),
        names[0] if names else "",
        contexts,
        tuple(user_items),
        tuple(unknown),
    )


def _once(reader: Reader, item: Item, count: int, name: str, section: str) -> None:
    if count > 1:
        what = f"{name} {item.type:02X}H is given twice"
        reader.tolerate(what, item.start - 4, field=name, section=section)


def _ae_title(field: bytes) -> str:
    return field.decode("latin-1").strip("\0 ")


def _associate_rq(reader: Reader) -> AssociateRq:
    version, called, calling, name, items, user_items, unknown = _associate(
        reader, PduType.A_ASSOCIATE_RQ, ItemType.PRESENTATION_CONTEXT_RQ
    )
    contexts = tuple(_proposed_context(reader, item) for item in items)
    return AssociateRq(called, calling, contexts, user_items, name, version, unknown)


def _associate_ac(reader: Reader) -> AssociateAc:
    version, called, calling, name, items, user_items, unknown = _associate(
        reader, PduType.A_ASSOCIATE_AC, ItemType.PRESENTATION_CONTEXT_AC
    )
    contexts = tuple(_context_result(reader, item) for item in items)
    return AssociateAc(called, calling, contexts, user_items, name, version, unknown)


def _context_fields(reader: Reader, item: Item) -> None:
    if item.end - item.start < _FOUR.size:
        length = item.end - item.start
        what = f"item {item.type:02X}H has {length} bytes, its Presentation-context-ID and result take 4"
        section = TABLES[ItemType(item.type)]
        raise reader.error(what, item.start, field="Presentation-context-ID", section=section)


def _proposed_context(reader: Reader, item: Item) -> ProposedContext:
    _context_fields(reader, item)
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    unknown: list[UnknownItem] = []
    table = TABLES[ItemType.PRESENTATION_CONTEXT_RQ]
    for part in reader.items(item.start + _FOUR.size, item.end, table):
        if part.type == ItemType.TRANSFER_SYNTAX:
            transfer_syntaxes.append(_transfer_syntax(reader, part))
        elif part.type == ItemType.ABSTRACT_SYNTAX:
            section = TABLES[ItemType.ABSTRACT_SYNTAX]
            uid = reader.uid(part.start, part.end, field="Abstract-syntax-name", section=section)
            abstract_syntaxes.append(uid)
            _once(reader, part, len(abstract_syntaxes), "Abstract Syntax Sub-Item", table)
        else:
            unknown.append(reader.unknown(part))
    abstract_syntax = abstract_syntaxes[0] if abstract_syntaxes else ""
    return ProposedContext(reader.body[item.start], abstract_syntax, tuple(transfer_syntaxes), tuple(unknown))


def _context_result(reader: Reader, item: Item) -> ContextResult:
    _context_fields(reader, item)
    transfer_syntaxes: list[str] = []
    unknown: list[UnknownItem] = []
    table = TABLES[ItemType.PRESENTATION_CONTEXT_AC]
    for part in reader.items(item.start + _FOUR.size, item.end, table):
        if part.type == ItemType.TRANSFER_SYNTAX:
            transfer_syntaxes.append(_transfer_syntax(reader, part))
            _once(reader, part, len(transfer_syntaxes), "Transfer Syntax Sub-Item", table)
        else:
            unknown.append(reader.unknown(part))
    transfer_syntax = transfer_syntaxes[0] if transfer_syntaxes else ""
    id, result = reader.body[item.start], reader.body[item.start + 2]
    return ContextResult(id, result, transfer_syntax, tuple(unknown))


def _transfer_syntax(reader: Reader, item: Item) -> str:
    section = TABLES[ItemType.TRANSFER_SYNTAX]
    return reader.uid(item.start, item.end, field="Transfer-syntax-name", section=section)


def _four(reader: Reader, type: PduType) -> tuple[int, ...]:
    """The variable field of a PDU that has four bytes of it."""
    if len(reader.body) != _FOUR.size:
        what = f"PDU-length says {len(reader.body)} bytes, it is always {_FOUR.size}"
        raise reader.error(what, 2 - HEADER_LENGTH, field="PDU-length", section=_PDU_TABLES[type])
    return _FOUR.unpack(reader.body)


def _associate_rj(reader: Reader) -> AssociateRj:
    _, result, source, reason = _four(reader, PduType.A_ASSOCIATE_RJ)
    return AssociateRj(result, source, reason)


def _release_rq(reader: Reader) -> ReleaseRq:
    _four(reader, PduType.A_RELEASE_RQ)
    return ReleaseRq()


def _release_rp(reader: Reader) -> ReleaseRp:
    _four(reader, PduType.A_RELEASE_RP)
    return ReleaseRp()


def _abort(reader: Reader) -> Abort:
    _, _, source, reason = _four(reader, PduType.A_ABORT)
    return Abort(source, reason)


def _p_data(reader: Reader) -> PData:
    body, values, index = reader.body, [], 0
    while index < len(body):
        remain = len(body) - index
        if remain < VALUE.size:
            what = value_header_error(remain)
            raise reader.error(what, index, field="Item-length", section=VALUE_TABLE)
        length, id, control = VALUE.unpack_from(body, index)
        if not 2 <= length <= remain - 4:
            what = value_error(length, remain - 4)
            raise reader.error(what, index, field="Item-length", section=VALUE_TABLE)
        end = index + 4 + length
        values.append(PresentationDataValue(id, control, body[index + VALUE.size : end]))
        index = end
    return PData(tuple(values))


def value_header_error(remain: int) -> str:
    """What is wrong when a P-DATA-TF PDU ends within the header of a presentation-data-value item."""
    return f"{remain} bytes remain, the header of a presentation-data-value item takes {VALUE.size}"


def value_error(length: int, remain: int) -> str:
    """What is wrong with the Item-length of a presentation-data-value item."""
    if length < 2:
        return f"presentation-data-value item says {length} bytes, its ID and control header take 2"
    return f"presentation-data-value item says {length} bytes, {remain} remain in the PDU"


_DECODERS: Final[dict[int, Callable[[Reader], Pdu]]] = {
    PduType.A_ASSOCIATE_RQ: _associate_rq,
    PduType.A_ASSOCIATE_AC: _associate_ac,
    PduType.A_ASSOCIATE_RJ: _associate_rj,
    PduType.P_DATA_TF: _p_data,
    PduType.A_RELEASE_RQ: _release_rq,
    PduType.A_RELEASE_RP: _release_rp,
    PduType.A_ABORT: _abort,
}


def _pdu(type: PduType, body: bytes) -> bytes:
    return HEADER.pack(type, len(body)) + body


def _encode_associate(type: PduType, pdu: AssociateRq | AssociateAc, contexts: Iterable[bytes]) -> bytes:
    called, calling = _encode_ae_title(pdu.called_ae_title), _encode_ae_title(pdu.calling_ae_title)
    parts = [_ASSOCIATE.pack(pdu.protocol_version, called, calling)]
    if pdu.application_context_name:
        parts.append(encode_uid(ItemType.APPLICATION_CONTEXT, pdu.application_context_name))
    parts += contexts
    user_information = b"".join(map(encode_user_item, pdu.user_information))
    parts.append(encode_item(ItemType.USER_INFORMATION, user_information))
    parts += map(encode_unknown, pdu.unknown_items)
    return _pdu(type, b"".join(parts))


def _encode_ae_title(title: str) -> bytes:
    field = title.encode("latin-1")
    if len(field) > 16:
        raise ValueError(f"AE title {title!r} is longer than 16 characters")
    return field.ljust(16)


def _encode_proposed_context(context: ProposedContext) -> bytes:
    parts = [_FOUR.pack(context.presentation_context_id, 0, 0, 0)]
    if context.abstract_syntax:
        parts.append(encode_uid(ItemType.ABSTRACT_SYNTAX, context.abstract_syntax))
    parts += (encode_uid(ItemType.TRANSFER_SYNTAX, uid) for uid in context.transfer_syntaxes)
    parts += map(encode_unknown, context.unknown_items)
    return encode_item(ItemType.PRESENTATION_CONTEXT_RQ, b"".join(parts))


def _encode_context_result(context: ContextResult) -> bytes:
    parts = [_FOUR.pack(context.presentation_context_id, 0, context.result, 0)]
    if context.transfer_syntax:
        parts.append(encode_uid(ItemType.TRANSFER_SYNTAX, context.transfer_syntax))
    parts += map(encode_unknown, context.unknown_items)
    return encode_item(ItemType.PRESENTATION_CONTEXT_AC, b"".join(parts))


def _encode_value(value: PresentationDataValue) -> bytes:
    data = bytes(value.data)
    return VALUE.pack(len(data) + 2, value.presentation_context_id, value.control) + data
