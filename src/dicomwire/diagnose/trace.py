"""Recorded traces: what went over a connection, written as pcapng that Wireshark reads too.

Connections are told byte by byte and get made-up TCP packets: what was sent, in order, nothing lost. A data
set may be cut after its head, its true length is kept: a packet then says that it was longer than what was
captured. What the bytes do not say (why a request was refused) is a comment on a packet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.tcp import ACK, FIN, PSH, RST, SYN

LONGEST_SEGMENT: Final = 65_000  # bytes of a packet's payload
UNKNOWN_ADDRESS: Final = "0.0.0.0"

_RAW_IP: Final = 101  # LINKTYPE_RAW
_MASK: Final = 0xFFFFFFFF
_WINDOW: Final = 65_535
_V4: Final = struct.Struct(">BBHHHBBH4s4s")
_V6: Final = struct.Struct(">IHBB16s16s")
_TCP: Final = struct.Struct(">HHIIBBHHH")
_BLOCK: Final = struct.Struct("<II")
_PACKET: Final = struct.Struct("<IIIII")
_COMMENT: Final = 1

HEAD: Final = (
    # Section header: byte-order magic, version 1.0, length unknown; interface: raw IP, no snap length
    _BLOCK.pack(0x0A0D0D0A, 28)
    + struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    + struct.pack("<I", 28)
    + _BLOCK.pack(1, 20)
    + struct.pack("<HHI", _RAW_IP, 0, 0)
    + struct.pack("<I", 20)
)
"""What a trace file begins with; the packets of any number of connections follow, in the order of time."""


@dataclass(slots=True)
class Tap:
    """One connection of a trace; each call returns the bytes to append to the file.

    Attributes:
        requestor, acceptor: numeric address and port; one that is none becomes 0.0.0.0.
    """

    requestor: tuple[str, int]
    acceptor: tuple[str, int]
    _next: dict[Side, int] = field(default_factory=lambda: {Side.REQUESTOR: 1_000, Side.ACCEPTOR: 1_000})

    def connected(self, now: float) -> bytes:
        """The TCP connection is there; now: seconds since 1970, as everywhere here."""
        opened = self._packet(Side.REQUESTOR, SYN, b"", 0, now)
        answered = self._packet(Side.ACCEPTOR, SYN | ACK, b"", 0, now)
        return opened + answered + self._packet(Side.REQUESTOR, ACK, b"", 0, now)

    def refused(self, now: float) -> bytes:
        """The TCP connection was refused."""
        opened = self._packet(Side.REQUESTOR, SYN, b"", 0, now)
        return opened + self._packet(Side.ACCEPTOR, RST | ACK, b"", 0, now)

    def sent(self, side: Side, data: bytes | memoryview, now: float, *, length: int | None = None) -> bytes:
        """Bytes of one side.

        Args:
            side: who sent them.
            data: the bytes, or the first of them.
            now: when.
            length: how many there were; None where `data` is all of them. Cut only within one value of a
                P-DATA-TF: its lengths then tell what is missing.
        """
        rest = len(data) if length is None else length
        view, packets = memoryview(data), []
        while rest:
            size = min(rest, LONGEST_SEGMENT)
            packets.append(self._packet(side, PSH | ACK, bytes(view[:size]), size, now))
            view, rest = view[size:], rest - size
        return b"".join(packets)

    def skip(self, side: Side, count: int) -> None:
        """So many bytes of one side are left out: a gap."""
        self._next[side] = (self._next[side] + count) & _MASK

    def closed(self, side: Side, now: float, *, reset: bool = False) -> bytes:
        """One side closed the connection."""
        return self._packet(side, RST | ACK if reset else FIN | ACK, b"", 0, now)

    def note(self, text: str, now: float) -> bytes:
        """Words that the bytes do not say, such as the true reason of a refusal."""
        return self._packet(Side.ACCEPTOR, ACK, b"", 0, now, comment=text)

    def _packet(
        self, side: Side, flags: int, data: bytes, length: int, now: float, comment: str = ""
    ) -> bytes:
        other = Side.ACCEPTOR if side is Side.REQUESTOR else Side.REQUESTOR
        source, destination = (
            (self.requestor, self.acceptor) if side is Side.REQUESTOR else (self.acceptor, self.requestor)
        )
        sequence, ack = self._next[side], self._next[other] if flags & ACK else 0
        self._next[side] = (sequence + length + bool(flags & (SYN | FIN))) & _MASK
        tcp = _TCP.pack(source[1], destination[1], sequence, ack, 0x50, flags, _WINDOW, 0, 0)
        headers = _network(source[0], destination[0], len(tcp) + length) + tcp
        return _enhanced_packet(headers + data, len(headers) + length, now, comment)


def _network(source: str, destination: str, length: int) -> bytes:
    one, other = _address(source), _address(destination)
    if len(one) != len(other):
        one, other = (b"\0" * 10 + b"\xff\xff" + part if len(part) == 4 else part for part in (one, other))
    if len(one) == 4:
        return _V4.pack(0x45, 0, 20 + length, 0, 0x4000, 64, 6, 0, one, other)
    return _V6.pack(6 << 28, length, 6, 64, one, other)


def _address(text: str) -> bytes:
    try:
        return ip_address(text.partition("%")[0]).packed
    except ValueError:
        return ip_address(UNKNOWN_ADDRESS).packed


def _enhanced_packet(data: bytes, length: int, now: float, comment: str) -> bytes:
    microseconds = max(0, round(now * 1e6))
    body = _PACKET.pack(0, microseconds >> 32, microseconds & _MASK, len(data), length)
    body += data + bytes(-len(data) % 4)
    if comment:
        text = comment.encode()[:1_000]
        body += struct.pack("<HH", _COMMENT, len(text)) + text + bytes(-len(text) % 4) + bytes(4)
    total = len(body) + 12
    return _BLOCK.pack(6, total) + body + struct.pack("<I", total)
