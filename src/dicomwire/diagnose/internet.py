"""IPv4 and IPv6 packets, their fragments and extension headers; what ICMP says (RFC 791, 8200, 792, 4443)."""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, NamedTuple

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
ICMPV6: Final = 58

FRAGMENTED_PACKETS: Final = 256  # packets whose fragments are awaited at the same time
LONGEST_IP: Final = 65_535  # bytes of a packet's payload

_FRAGMENT: Final = 44
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140})  # 8 octets, more by their length field
_AUTHENTICATION: Final = 51
_MOST_EXTENSIONS: Final = 8
_V4: Final = struct.Struct(">BxHHHxBxx4s4s")
_V6: Final = struct.Struct(">4xHBx16s16s")


class Datagram(NamedTuple):
    """A whole transport segment.

    Attributes:
        protocol: number of IP's protocol field.
        source, destination: addresses as on the wire, 4 or 16 bytes.
        data: holds the segment from `start` to before `end`.
        length: bytes of the segment on the wire; more than are there where the snap length cut it.
    """

    protocol: int
    source: bytes
    destination: bytes
    data: bytes
    start: int
    end: int
    length: int


@dataclass(slots=True)
class _Parts:
    pieces: dict[int, bytes] = field(default_factory=dict)
    length: int | None = None  # known once the last fragment is there
    size: int = 0


class Fragments:
    """Puts fragmented packets together; bounded, the oldest incomplete ones are forgotten."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[bytes, bytes, int, int], _Parts] = OrderedDict()

    def add(self, key: tuple[bytes, bytes, int, int], offset: int, more: bool, piece: bytes) -> bytes | None:
        """The whole payload, once it is there."""
        parts = self._waiting.get(key)
        if parts is None:
            parts = self._waiting[key] = _Parts()
            if len(self._waiting) > FRAGMENTED_PACKETS:
                self._waiting.popitem(last=False)
        if offset + len(piece) > LONGEST_IP or offset in parts.pieces:
            return None
        parts.pieces[offset] = piece
        parts.size += len(piece)
        if not more:
            parts.length = offset + len(piece)
        if parts.length is None or parts.size < parts.length:
            return None
        del self._waiting[key]
        whole = bytearray()
        for at in sorted(parts.pieces):
            if at > len(whole):
                return None
            whole[at:] = parts.pieces[at]
        return bytes(whole)


def datagram(data: bytes, start: int, end: int, fragments: Fragments) -> Datagram | None:
    """The transport segment of the IP packet at `start`; None where it is none, cut, or not yet whole."""
    if end - start < 20:
        return None
    return _ipv4(data, start, end, fragments) if data[start] >> 4 == 4 else _ipv6(data, start, end, fragments)


def _ipv4(data: bytes, start: int, end: int, fragments: Fragments) -> Datagram | None:
    first, total, identification, fragment, protocol, source, destination = _V4.unpack_from(data, start)
    header = (first & 15) * 4
    # Segmentation offload leaves the total length 0 where it does not fit.
    total = total or end - start
    if header < 20 or total < header or start + header > end:
        return None
    body, stop = start + header, min(end, start + total)
    if fragment & 0x3FFF:
        key = (source, destination, identification, protocol)
        offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
        whole = fragments.add(key, offset, more, data[body:stop])
        if whole is None:
            return None
        return Datagram(protocol, source, destination, whole, 0, len(whole), len(whole))
    return Datagram(protocol, source, destination, data, body, stop, total - header)


def _ipv6(data: bytes, start: int, end: int, fragments: Fragments) -> Datagram | None:
    if end - start < 40:
        return None
    length, protocol, source, destination = _V6.unpack_from(data, start)
    body = start + 40
    length = length or end - body  # a jumbogram, or offload
    stop = min(end, body + length)
    for _ in range(_MOST_EXTENSIONS):
        if protocol in _EXTENSIONS or protocol == _AUTHENTICATION:
            if body + 8 > stop:
                return None
            size = (data[body + 1] + 2) * 4 if protocol == _AUTHENTICATION else (data[body + 1] + 1) * 8
            protocol = data[body]
            body, length = body + size, length - size
        elif protocol == _FRAGMENT:
            if body + 8 > stop:
                return None
            following, where, identification = struct.unpack_from(">BxHI", data, body)
            key = (source, destination, identification, following)
            whole = fragments.add(key, where & 0xFFF8, bool(where & 1), data[body + 8 : stop])
            if whole is None:
                return None
            return Datagram(following, source, destination, whole, 0, len(whole), len(whole))
        else:
            break
    if body > stop:
        return None
    return Datagram(protocol, source, destination, data, body, stop, length)


class Unreachable(NamedTuple):
    """An ICMP error about a TCP packet.

    Attributes:
        words: what it says.
        too_big: the packet was too long for the path (RFC 1191, 8201).
        mtu: bytes that fit, 0 where it does not say.
        by: who says so.
        key: source and destination address and port of the packet that it is about, as on the wire.
    """

    words: str
    too_big: bool
    mtu: int
    by: str
    key: bytes


_V4_WORDS: Final = {
    0: "network unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    4: "fragmentation needed",
    5: "source route failed",
    6: "network unknown",
    7: "host unknown",
    9: "network administratively prohibited",
    10: "host administratively prohibited",
    13: "communication administratively prohibited",
}
_V6_WORDS: Final = {
    0: "no route",
    1: "administratively prohibited",
    2: "beyond the scope of the address",
    3: "address unreachable",
    4: "port unreachable",
    5: "source address failed policy",
    6: "route rejected",
}


def unreachable(icmp: Datagram) -> Unreachable | None:
    """What an ICMP or ICMPv6 packet says about a TCP connection; None where it says nothing of the kind."""
    data, start, end = icmp.data, icmp.start, icmp.end
    if end - start < 8 + 20 + 4:
        return None
    kind, code = data[start], data[start + 1]
    inner = start + 8
    (mtu,) = struct.unpack_from(">I", data, start + 4)
    by = str(ip_address(icmp.source))
    if icmp.protocol == ICMP:
        header = (data[inner] & 15) * 4
        if kind not in (3, 11) or data[inner + 9] != TCP or inner + header + 4 > end:
            return None
        key = data[inner + 12 : inner + 20] + data[inner + header : inner + header + 4]
        words = "time to live exceeded" if kind == 11 else _V4_WORDS.get(code, f"unreachable, code {code}")
        return Unreachable(words, kind == 3 and code == 4, mtu & 0xFFFF, by, key)
    if kind not in (1, 2, 3) or end - inner < 44 or data[inner + 6] != TCP:
        return None
    words = _V6_WORDS.get(code, f"unreachable, code {code}") if kind == 1 else "packet too big"
    if kind == 3:
        words = "hop limit exceeded"
    return Unreachable(words, kind == 2, mtu, by, data[inner + 8 : inner + 44])
