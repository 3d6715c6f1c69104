"""Conversion between the uncompressed transfer syntaxes, as a stream (PS3.5 A, 6.2.2, 7.3).

Values are slices of the source and never held as a whole; sequences and items come out with undefined
length, so that nothing has to be measured ahead. Equal are the values, not the bytes: group lengths are left
out, elements that implicit VR leaves open get the dictionary's VR or UN, values too long for their VR's
length field become UN.

Implicit VR has no place for a VR that contradicts the dictionary about what is a sequence: a reader would
take numbers for items and lose its way. Such a data set is refused, with the element, not made unreadable;
and as a whole, for the headers behind the first piece are looked at before it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from struct import pack
from typing import Final

from dicomwire.dicom.byte_order import UNIT_SIZES, swapped
from dicomwire.dicom.context import DECIDING, PIXEL_REPRESENTATION, Context
from dicomwire.dicom.deflate import INFLATE_LIMIT, deflated, inflate, inflated
from dicomwire.dicom.dictionary import tag_text
from dicomwire.dicom.elements import Element, Kind, elements, is_sequence, items
from dicomwire.dicom.encoding import (
    DEPTH_LIMIT,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED,
    Buffer,
    Encoding,
    encoding_of,
)
from dicomwire.dicom.scan import scan
from dicomwire.errors import DataSetError, LocalProtocolError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES, name_of

BLOCK: Final = 1 << 20  # most bytes of a large value in one piece; a multiple of every number's size
_GATHER: Final = 1 << 16  # bytes of headers and small values that are put together into one piece
_SHORT: Final = frozenset(SHORT_VRS)
_LONG: Final = frozenset(LONG_VRS)
_BEGINNINGS: Final = frozenset({Kind.VALUE, Kind.ENCAPSULATED, Kind.SEQUENCE})
_PIXEL_DATA: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(frozen=True, slots=True)
class Edits:
    """What becomes different in a data set that is written anew.

    Attributes:
        values: VR and little endian value, of even length, of elements of the data set itself by tag, added
            or in place of what was there; None leaves an element out.
        pixel_data: makes the whole element, header included, in place of the pixel data; None keeps it.
        left_out: elements and sequences that are left out wherever they are.
    """

    values: Mapping[int, tuple[str, bytes] | None] = field(default_factory=dict)
    pixel_data: Callable[[Encoding], Iterator[Buffer]] | None = None
    left_out: frozenset[int] = frozenset()


_NO_EDITS: Final = Edits()


def to_explicit_vr_little_endian(data: Buffer, transfer_syntax_uid: str) -> Iterator[Buffer]:
    """A data set in Explicit VR Little Endian, in pieces; see `to_transfer_syntax`."""
    return to_transfer_syntax(data, transfer_syntax_uid, EXPLICIT_VR_LITTLE_ENDIAN)


def to_transfer_syntax(
    data: Buffer, source: str, target: str, *, inflate_limit: int = INFLATE_LIMIT
) -> Iterator[Buffer]:
    """A data set in another uncompressed transfer syntax, in pieces of at most 1 MiB.

    data: the data set; pieces may be views of it.
    source, target: transfer syntax UIDs; encapsulated ones only where both are the same.
    inflate_limit: most bytes of an inflated data set that is wanted in another syntax than Explicit VR Little
        Endian, and so has to be held in memory.
    Raises: LocalProtocolError, when a codec would be needed; DataSetError, in place of the first piece, when
        the data set has a VR that Implicit VR cannot express; later, when it cannot be read to its end.
    """
    if source == target:
        return _blocks(data)
    for uid in (source, target):
        syntax = TRANSFER_SYNTAXES.get(uid)
        if syntax is None or syntax.encapsulated:
            raise LocalProtocolError(f"from {name_of(source)} to {name_of(target)} needs a codec")
    read, write = encoding_of(source), encoding_of(target)
    pieces: Iterator[Buffer]
    if read.deflated and write is EXPLICIT_LITTLE:
        return inflated(data)
    if read.deflated:
        data, read = inflate(data, inflate_limit), EXPLICIT_LITTLE
    if read.explicit == write.explicit and read.little_endian == write.little_endian:
        pieces = _blocks(data)
    else:
        pieces = _convert(data, read, EXPLICIT_LITTLE if write.deflated else write, source)
    return deflated(pieces) if write.deflated else pieces


def edited(data: Buffer, source: str, target: str, edits: Edits) -> Iterator[Buffer]:
    """A data set in another transfer syntax with some of its elements changed, in pieces of at most 1 MiB.

    data: the data set, inflated.
    source, target: transfer syntax UIDs; where pixel data changes its form, `edits` holds it.
    Raises: DataSetError, as `to_transfer_syntax`.
    """
    read, write = encoding_of(source), encoding_of(target)
    if read.deflated:
        read = EXPLICIT_LITTLE
    pieces = _convert(data, read, EXPLICIT_LITTLE if write.deflated else write, source, edits)
    return deflated(pieces) if write.deflated else pieces


def converted_length(data: Buffer, source: str, target: str) -> int:
    """Bytes that `to_transfer_syntax` makes, for a Content-Length, at the cost of one conversion."""
    return sum(len(piece) for piece in to_transfer_syntax(data, source, target))


def _blocks(data: Buffer) -> Iterator[Buffer]:
    view = memoryview(data)
    return (view[start : start + BLOCK] for start in range(0, len(view), BLOCK))


def _convert(
    data: Buffer, read: Encoding, write: Encoding, source: str, edits: Edits = _NO_EDITS
) -> Iterator[Buffer]:
    """The loop. One function: what is gathered is shared by all kinds of steps."""
    root = 0 if read.explicit else scan(data, source).integer(PIXEL_REPRESENTATION) or 0
    contexts = [Context(root)]
    view = memoryview(data)
    gathered = bytearray()
    pending = sorted(edits.values, reverse=True)
    leaving_out = 0  # sequences begun within one that is left out, itself included
    judging = read.explicit and not write.explicit
    ahead = judging  # what follows has to be looked at before anything leaves
    item, item_end, sequence_end = (
        pack(write.order + "HHI", 0xFFFE, number, length)
        for number, length in ((0xE000, UNDEFINED), (0xE00D, 0), (0xE0DD, 0))
    )
    for step in elements(data, read):
        kind, tag, _, start, end, encoding = step
        if leaving_out or (tag in edits.left_out and kind in _BEGINNINGS):
            leaving_out += (kind is Kind.SEQUENCE) - (kind is Kind.SEQUENCE_END)
            continue
        if judging:
            _check_expressible(view, step, len(contexts) - 1)
        if len(contexts) == 1 and kind in _BEGINNINGS:
            while pending and pending[-1] <= tag:
                gathered += _edit(pending.pop(), edits, write)
            if tag in edits.values:
                leaving_out = int(kind is Kind.SEQUENCE)
                continue
            if tag in _PIXEL_DATA and edits.pixel_data is not None:
                yield bytes(gathered)
                gathered.clear()
                yield from edits.pixel_data(write)
                continue
        if kind is Kind.VALUE or kind is Kind.ENCAPSULATED:
            if not tag & 0xFFFF and tag >> 16 > 0x0002:
                continue  # a group length would no longer be true; retired (PS3.5 7.2)
            if tag in DECIDING:
                contexts[-1].observe(tag, bytes(view[start:end]), encoding)
            vr = _vr(step, contexts[-1])
            size = contexts[-1].unit_size(tag, vr) if encoding.little_endian != write.little_endian else 0
            gathered += header(tag, vr, _length(step), write)
            if end - start <= _GATHER:
                gathered += swapped(view[start:end], size) if size else view[start:end]
            else:
                if ahead:
                    ahead = _look_ahead(view, read, end if len(contexts) == 1 else 0)
                yield bytes(gathered)  # never empty: it ends with the header
                gathered.clear()
                for block in range(start, end, BLOCK):
                    piece = view[block : min(block + BLOCK, end)]
                    yield swapped(piece, size) if size else piece
        elif kind is Kind.SEQUENCE:
            gathered += header(tag, "SQ", UNDEFINED, write)
        elif kind is Kind.ITEM:
            contexts.append(contexts[-1].item())
            gathered += item
        elif kind is Kind.ITEM_END:
            contexts.pop()
            gathered += item_end
        else:
            gathered += sequence_end
        if len(gathered) > _GATHER:
            if ahead:
                whole = len(contexts) == 1 and kind is not Kind.SEQUENCE
                ahead = _look_ahead(view, read, end if whole else 0)
            yield bytes(gathered)
            gathered.clear()
    while pending:
        gathered += _edit(pending.pop(), edits, write)
    if gathered:
        yield bytes(gathered)


def _length(step: Element) -> int:
    """What the header of a value says of its length."""
    return UNDEFINED if step.kind is Kind.ENCAPSULATED else step.end - step.start


def _look_ahead(data: memoryview, read: Encoding, start: int) -> bool:
    """Walk headers from an element of the data set itself on, so that nothing is refused behind a piece.

    Returns: False: there is nothing more to look for.
    Raises: DataSetError.
    """
    depth = 0
    for step in elements(data, read, start=start):
        _check_expressible(data, step, depth)
        depth += (step.kind is Kind.ITEM) - (step.kind is Kind.ITEM_END)
    return False


def _check_expressible(data: memoryview, step: Element, depth: int) -> None:
    """Raises: DataSetError, for what Implicit VR would make unreadable."""
    kind, tag, vr, start, end, encoding = step
    if kind is Kind.SEQUENCE:
        if not is_sequence(tag, "", UNDEFINED):
            raise _inexpressible(step, "items, where Implicit VR has a value")
    elif vr and start != end and is_sequence(tag, "", _length(step)):
        size = 0 if encoding.little_endian else UNIT_SIZES.get(vr, 0)
        _check_items(step, swapped(data[start:end], size) if size else data[start:end], depth)


def _check_items(step: Element, value: Buffer, depth: int) -> None:
    """Raises: DataSetError, for a value that is no sequence where a reader of Implicit VR expects one."""
    try:
        for _ in items(value, step.tag, IMPLICIT_LITTLE, depth_limit=DEPTH_LIMIT - depth):
            pass
    except DataSetError:
        what = f"{len(value)} bytes that are no items, where Implicit VR has a sequence"
        raise _inexpressible(step, what) from None


def _inexpressible(step: Element, what: str) -> DataSetError:
    words = f"{tag_text(step.tag)} as {step.vr}: {what}; it cannot be converted, only sent in Explicit VR"
    return DataSetError(words, step.start, section="PS3.5 A.1")


def _edit(tag: int, edits: Edits, write: Encoding) -> bytes:
    edit = edits.values[tag]
    if edit is None:
        return b""
    vr, value = edit
    size = 0 if write.little_endian else UNIT_SIZES.get(vr, 0)
    return header(tag, vr, len(value), write) + (swapped(value, size) if size else value)


def _vr(step: Element, context: Context) -> str:
    """VR to write: as read, the dictionary's where it was implicit, UN where nobody knows it."""
    vr = step.vr or context.vr(step.tag, encapsulated=step.kind is Kind.ENCAPSULATED)
    return vr if vr in _SHORT or vr in _LONG else "UN"


def header(tag: int, vr: str, length: int, write: Encoding) -> bytes:
    """The header of one data element.

    vr: not looked at where the encoding is implicit.
    length: bytes of the value, UNDEFINED for a sequence or fragments that end with a delimitation item.
    Source: PS3.5 7.1.
    """
    group, element = tag >> 16, tag & 0xFFFF
    if not write.explicit:
        return pack(write.order + "HHI", group, element, length)
    if vr in _SHORT:
        if length <= 0xFFFF:
            return pack(write.order + "HH2sH", group, element, vr.encode(), length)
        vr = "UN"  # PS3.5 6.2.2 note: a value too long for the 16-bit length field of its VR
    return pack(write.order + "HH2sHI", group, element, vr.encode(), 0, length)
