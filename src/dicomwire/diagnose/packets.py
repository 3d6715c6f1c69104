"""Capture files to packets: pcap of both byte orders and time units, pcapng, either of them in gzip.

Chunks of the file in, packets out, in bounded memory: a packet is a place in the chunk at hand, not a copy.
The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from dicomwire.errors import CaptureError

LONGEST_PACKET: Final = 1 << 24  # bytes; tcpdump's largest snap length is 256 KiB
LONGEST_BLOCK: Final = LONGEST_PACKET + 65_536  # bytes of a pcapng block: a packet, its options
INFLATED_CHUNK: Final = 1 << 20  # bytes taken out of a gzip stream at once: no bomb fills our memory
COMMENTS: Final = 1_000  # kept of a capture
COMMENTED: Final = 256  # bytes kept of a packet that has one: its headers

_PCAP_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET, _SECTION = 1, 2, 3, 6, 0x0A0D0D0A
# Custom blocks of either kind and entries of a journal are frames to Wireshark, so they are counted.
_COUNTED: Final = frozenset({0x00000BAD, 0x40000BAD, 0x00000009})
_OPTION_COMMENT, _OPTION_TIME_RESOLUTION, _OPTION_TIME_OFFSET = 1, 9, 14


# Where a packet lies in the chunk at hand, valid until the next one is asked for: its number from 1, as
# Wireshark counts frames; seconds since 1970, 0 where the file has no times; the chunk; its first byte there;
# bytes of it that were captured, and that it had on the wire; LINKTYPE_ number. A plain tuple: a named one
# costs a tenth of the whole way of a packet.
Packet: TypeAlias = tuple[int, float, bytes, int, int, int, int]


class Comment(NamedTuple):
    """A comment on a packet, and the packet's beginning, which says what connection it belongs to."""

    frame: int
    time: float
    text: str
    packet: bytes
    link_type: int


@dataclass(slots=True)
class CaptureInfo:
    """What a file says about itself, filled in while its packets are read.

    Attributes:
        format: `pcap` or `pcapng`, with `, gzip` where packed.
        comments: those of single packets.
    """

    format: str = ""
    comments: list[Comment] = field(default_factory=list)


@dataclass(slots=True)
class _Interface:
    link_type: int
    snap_length: int
    tick: float = 1e-6  # seconds
    offset: int = 0  # seconds


def packets(chunks: Iterable[bytes], info: CaptureInfo) -> Iterator[Packet]:
    """The packets of a capture file.

    Args:
        chunks: the file in pieces of any length.
        info: filled in on the way.

    Raises: CaptureError, when it is none or cannot be read to its end, after everything before the fault.
    """
    window = _Window(chunks)
    if window.more(2) and window.data.startswith(_GZIP_MAGIC):
        window = _Window(_inflated(window))
        info.format = ", gzip"
    window.more(4)
    magic = window.data[:4]
    if magic in _PCAP_MAGIC:
        info.format = "pcap" + info.format
        yield from _pcap(window)
    elif magic == _PCAPNG_MAGIC:
        info.format = "pcapng" + info.format
        yield from _pcapng(window, info)
    elif not magic:
        raise CaptureError("the file is empty", 0)
    else:
        raise CaptureError(f"neither pcap nor pcapng: the first bytes are {magic.hex(' ')}", 0)


class _Window:
    """The chunk at hand; `base` is the offset in the file of its first byte."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.data = b""
        self.base = 0

    def more(self, wanted: int, position: int = 0) -> bool:
        """Drops what is before `position`; whether `wanted` bytes are there from then on."""
        parts = [self.data[position:]]
        self.base += position
        have = len(parts[0])
        while have < wanted:
            chunk = next(self.chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        self.data = b"".join(parts)
        return have >= wanted


def _inflated(window: _Window) -> Iterator[bytes]:
    """A gzip stream, unpacked; members one after the other, as `cat` of several makes them."""
    member = zlib.decompressobj(31)
    data = window.data
    while True:
        try:
            chunk = member.decompress(data, INFLATED_CHUNK)
        except zlib.error as error:
            unread = window.base + len(window.data) - len(data)
            raise CaptureError(f"gzip: {error}", unread) from None
        if chunk:
            yield chunk
        data = member.unconsumed_tail
        if not data and member.eof:
            data = member.unused_data.lstrip(b"\0")
            member = zlib.decompressobj(31) if data else member
        if not data:
            window.more(1, len(window.data))
            data = window.data
            if not data:
                break
            if member.eof:
                member = zlib.decompressobj(31)
    if not member.eof:
        raise CaptureError("gzip: the file ends within the packed data", window.base)


def _pcap(window: _Window) -> Iterator[Packet]:
    order, tick = _PCAP_MAGIC[window.data[:4]]
    if not window.more(24):
        raise CaptureError(
            f"pcap: {len(window.data)} bytes, the file header takes 24",
            len(window.data),
            field="file header",
        )
    link_type: int = struct.unpack_from(f"{order}I", window.data, 20)[0] & 0xFFFF
    unpack = struct.Struct(f"{order}IIII").unpack_from
    data, position, end, number = window.data, 24, len(window.data), 0
    while True:
        start = position + 16
        if start > end:
            if not window.more(16, position):
                break
            data, position, end, start = window.data, 0, len(window.data), 16
        seconds, fraction, captured, original = unpack(data, position)
        stop = start + captured
        if stop > end:
            if captured > LONGEST_PACKET:
                what = f"pcap: frame {number + 1} says {captured} bytes, at most {LONGEST_PACKET} are taken"
                raise CaptureError(what, window.base + position + 8, field="captured length")
            if not window.more(16 + captured, position):
                break
            data, position, end = window.data, 0, len(window.data)
            start, stop = 16, 16 + captured
        number += 1
        yield number, seconds + fraction * tick, data, start, captured, original, link_type
        position = stop
    if window.data:
        raise CaptureError(
            f"pcap: the file ends within frame {number + 1}: {_cut(window.data, order)}", window.base
        )


def _cut(record: bytes, order: str) -> str:
    if len(record) < 16:
        return f"{len(record)} bytes remain, a record header takes 16"
    (captured,) = struct.unpack_from(f"{order}I", record, 8)
    return f"it says {captured} bytes, {len(record) - 16} remain"


def _pcapng(window: _Window, info: CaptureInfo) -> Iterator[Packet]:
    interfaces: list[_Interface] = []
    number = 0
    for order, kind, data, start, end in _blocks(window):
        body = start + 8
        if kind == _ENHANCED_PACKET:
            if end - start < 32:
                raise _bad_block(kind, end - start, window, start)
            which, high, low, captured, original = order.packet.unpack_from(data, body)
            interface = _interface(interfaces, which, window, start)
            time = (high << 32 | low) * interface.tick + interface.offset
            body += 20
        elif kind == _OLD_PACKET:
            if end - start < 32:
                raise _bad_block(kind, end - start, window, start)
            which, _, high, low, captured, original = order.old_packet.unpack_from(data, body)
            interface = _interface(interfaces, which, window, start)
            time = (high << 32 | low) * interface.tick + interface.offset
            body += 20
        elif kind == _SIMPLE_PACKET:
            interface = _interface(interfaces, 0, window, start)
            (original,) = order.word.unpack_from(data, body)
            captured, time, body = min(original, interface.snap_length or original), 0.0, body + 4
        else:
            if kind == _SECTION:
                interfaces = []
            elif kind == _INTERFACE:
                interfaces.append(_new_interface(order, data, start, end, window))
            number += kind in _COUNTED
            continue
        if captured > end - 4 - body:
            what = f"pcapng: frame {number + 1} says {captured} bytes, its block has {end - 4 - body}"
            raise CaptureError(what, window.base + start, field="captured length")
        number += 1
        options = body + (captured + 3 & ~3)
        if options < end - 4 and kind == _ENHANCED_PACKET and len(info.comments) < COMMENTS:
            for code, value in _options(order, data, options, end - 4):
                if code == _OPTION_COMMENT:
                    text = value.decode("utf-8", "replace")
                    packet = data[body : body + min(captured, COMMENTED)]
                    info.comments.append(Comment(number, time, text, packet, interface.link_type))
        yield number, time, data, body, captured, original, interface.link_type


class _Order(NamedTuple):
    """The numbers of pcapng in one byte order."""

    word: struct.Struct
    block: struct.Struct
    interface: struct.Struct
    packet: struct.Struct
    old_packet: struct.Struct
    option: struct.Struct


_ORDERS: Final = {
    sign: _Order(*(struct.Struct(sign + form) for form in ("I", "II", "HHI", "IIIII", "HHIIII", "HH")))
    for sign in "<>"
}


def _blocks(window: _Window) -> Generator[tuple[_Order, int, bytes, int, int]]:
    """Each block: its section's byte order, type, the chunk, its first byte and the byte behind it."""
    order = _ORDERS["<"]
    data, position = window.data, 0
    while True:
        if position + 12 > len(data):
            whole = window.more(12, position)
            data, position = window.data, 0
            if not whole:
                break
        if data.startswith(_PCAPNG_MAGIC, position):
            sign = _BYTE_ORDER.get(data[position + 8 : position + 12])
            if sign is None:
                what = "pcapng: the section header has no byte-order magic"
                raise CaptureError(what, window.base + position + 8, field="byte-order magic")
            order = _ORDERS[sign]
        kind, length = order.block.unpack_from(data, position)
        if length < 12 or length & 3 or length > LONGEST_BLOCK:
            raise _bad_block(kind, length, window, position)
        if position + length > len(data):
            whole = window.more(length, position)
            data, position = window.data, 0
            if not whole:
                break
        yield order, kind, data, position, position + length
        position += length
    if data:
        what = f"pcapng: the file ends within a block, {len(data)} bytes remain"
        raise CaptureError(what, window.base)


def _bad_block(kind: int, length: int, window: _Window, start: int) -> CaptureError:
    what = f"pcapng: a block of type {kind:08X}H says {length} bytes, which it cannot have"
    return CaptureError(what, window.base + start + 4, field="Block Total Length")


def _interface(interfaces: list[_Interface], which: int, window: _Window, start: int) -> _Interface:
    if which >= len(interfaces):
        what = f"pcapng: a packet of interface {which}, {len(interfaces)} are described"
        raise CaptureError(what, window.base + start + 8, field="Interface ID")
    return interfaces[which]


def _new_interface(order: _Order, data: bytes, start: int, end: int, window: _Window) -> _Interface:
    if end - start < 20:
        raise _bad_block(_INTERFACE, end - start, window, start)
    link_type, _, snap_length = order.interface.unpack_from(data, start + 8)
    interface = _Interface(link_type, snap_length)
    for code, value in _options(order, data, start + 16, end - 4):
        if code == _OPTION_TIME_RESOLUTION and value:
            base, power = (2.0, value[0] & 0x7F) if value[0] & 0x80 else (10.0, value[0])
            interface.tick = base**-power
        elif code == _OPTION_TIME_OFFSET and len(value) == 8:
            interface.offset = int.from_bytes(
                value, "little" if order is _ORDERS["<"] else "big", signed=True
            )
    return interface


def _options(order: _Order, data: bytes, position: int, end: int) -> Iterator[tuple[int, bytes]]:
    while position + 4 <= end:
        code, length = order.option.unpack_from(data, position)
        position += 4
        if not code or length > end - position:
            return
        yield code, data[position : position + length]
        position += length + 3 & ~3
