"""Packets to TCP connections and their streams (RFC 9293), passively.

Reordering, retransmission, overlap, gaps, snap length, late starts, reused ports; every table is bounded. The
hot path is `Reassembly.run`: a full-sized segment in order, of a flow that is known, within bytes that the
stream does not want, costs one look at its headers and no call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final, Protocol

from dicomwire.diagnose.connection import (
    LARGE,
    MASK,
    REMEMBERED,
    SHORTEST_DELAY,
    Connection,
    End,
    Half,
    distance,
    look_for_stall,
)
from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.internet import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Datagram,
    Fragments,
    datagram,
    unreachable,
)
from dicomwire.diagnose.link import network_offset
from dicomwire.diagnose.packets import Packet

OPEN_CONNECTIONS: Final = 65_536  # followed at the same time, some of them closed but not forgotten
PENDING: Final = 1 << 20  # bytes of one direction that wait for what was sent before them
ALL_PENDING: Final = 1 << 26  # of all directions
PENDING_SEGMENTS: Final = 1_024  # likewise, of one direction
SURE_GAP: Final = 8  # segments behind a gap that the receiver acknowledged, after which it is the capture's

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

# From IP's first byte: version, total length, fragment, protocol, addresses and ports, TCP up to the window.
_V4: Final = struct.Struct(">2xH2xI2x12sIIHH")
_V6: Final = struct.Struct(">4xHBx36sIIHH")
_TCP: Final = struct.Struct(">4sIIHH")


class Listener(Protocol):
    """Who is told of connections."""

    def opened(self, connection: Connection) -> None:
        """A connection that has sent its first packet; gives its halves their sinks."""

    def finished(self, connection: Connection) -> None:
        """It is over, or forgotten, or the capture ends."""

    def udp(self, segment: Datagram, time: float, frame: int) -> None:
        """A UDP datagram."""


class Reassembly:
    """All connections of a capture."""

    def __init__(self, listener: Listener, is_server_port: Callable[[int], bool]) -> None:
        self._listener = listener
        self._is_server_port = is_server_port
        self._flows: dict[bytes, Half] = {}
        self._connections: dict[bytes, Connection] = {}
        self._fragments = Fragments()
        self._pending = 0
        self.frames = 0
        self.first = 0.0
        self.last = 0.0
        self.tcp_packets = 0

    def run(self, packets: Iterable[Packet]) -> None:
        """Takes packets to their end; the connections that are still open then are finished by `finish`."""
        flows, unpack, unpack6 = self._flows, _V4.unpack_from, _V6.unpack_from
        offset = 14  # of the IP header; what the last packet that took the long way had
        number, time, shortest_delay = self.frames, self.last, SHORTEST_DELAY
        try:
            for number, time, data, start, captured, _, link_type in packets:
                at = start + offset
                if captured >= offset + 40:
                    first = data[at]
                    if first == 0x45:
                        total, fragment_protocol, key, sequence, ack, flags, window = unpack(data, at)
                        half = flows.get(key)
                        if (
                            half is not None
                            and sequence == half.next
                            and half.plain
                            and window
                            and flags & 0x37 == 0x10  # ACK, with PSH or not
                            and fragment_protocol & 0x3FFF00FF == 6  # no fragment, TCP
                            and total + offset <= captured
                        ):
                            header = 20 + (flags >> 12 << 2)
                            size = total - header
                            if size > 0:
                                peer = half.peer
                                if peer.ack_time - half.time > shortest_delay and peer.ack_time > peer.time:
                                    look_for_stall(half, time, number)
                                half.next = sequence + size & 0xFFFFFFFF
                                half.time, half.frame, half.ack = time, number, ack
                                if size < half.skip:
                                    half.skip -= size
                                else:
                                    half.connection.last = time
                                    half.put(data, at + header, at + total, time, number)
                                continue
                            if size == 0:
                                half.ack, half.ack_time = ack, time
                                if not half.peer.plain:
                                    self._settle(half.peer, time, number)
                                continue
                    elif first >> 4 == 6 and captured >= offset + 60:
                        total, protocol, key, sequence, ack, flags, window = unpack6(data, at)
                        half = flows.get(key)
                        if (
                            half is not None
                            and sequence == half.next
                            and half.plain
                            and window
                            and flags & 0x37 == 0x10
                            and protocol == 6
                            and total + offset + 40 <= captured
                        ):
                            header = flags >> 12 << 2
                            size = total - header
                            if 0 < size < half.skip:
                                half.next = sequence + size & 0xFFFFFFFF
                                half.time, half.frame, half.ack = time, number, ack
                                half.skip -= size
                                continue
                end = start + captured
                found = network_offset(link_type, data, start, end)
                if found is not None:
                    offset = found - start
                    self._packet(data, found, end, time, number)
        finally:
            self.frames, self.last = number, time

    def finish(self) -> None:
        """The capture is over."""
        for connection in list(self._connections.values()):
            self._forget(connection)

    def _packet(self, data: bytes, at: int, end: int, time: float, number: int) -> None:
        self.first = self.first or time
        segment = datagram(data, at, end, self._fragments)
        if segment is None:
            return
        if segment.protocol == TCP:
            if segment.end - segment.start >= 20:
                self._segment(segment, time, number)
        elif segment.protocol == UDP:
            self._listener.udp(segment, time, number)
        elif segment.protocol in (ICMP, ICMPV6):
            error = unreachable(segment)
            half = self._flows.get(error.key) if error else None
            if error and half and len(half.connection.icmp) < REMEMBERED:
                half.connection.icmp.append((error, time, number))
                half.connection.last = time

    def _segment(self, segment: Datagram, time: float, number: int) -> None:
        """Any TCP segment, the long way."""
        self.tcp_packets += 1
        data, start, end = segment.data, segment.start, segment.end
        ports, sequence, ack, flags, window = _TCP.unpack_from(data, start)
        header = flags >> 12 << 2
        size = segment.length - header
        if header < 20 or size < 0:
            return
        key = segment.source + segment.destination + ports
        half = self._flows.get(key)
        if flags & SYN:
            half = self._syn(half, key, segment, sequence=sequence, flags=flags, time=time, number=number)
        elif half is None:
            if not size or flags & RST:
                return  # the rest of something that is over, or nobody's
            half = self._open(key, segment, time, number, late=True)
        connection, peer = half.connection, half.peer
        connection.last = time
        if flags & RST:
            self._reset(half, time, number, stranger=not flags & ACK)
            return
        if flags & ACK:
            half.ack = ack
            if not size and not flags & (SYN | FIN):
                half.ack_time = time
        if not flags & (SYN | FIN):
            half.advertise(window, time)
        if flags & SYN:
            half.next = (sequence + 1) & MASK
            sequence = half.next
        elif half.next < 0:
            half.next = sequence
        if size:
            available = max(0, min(size, end - start - header))
            self._data(half, sequence, data, start + header, available, size, time=time, number=number)
        elif not peer.plain:
            self._settle(peer, time, number)
        if size and not peer.plain:
            self._settle(peer, time, number)
        if flags & FIN:
            self._fin(half, (sequence + size) & MASK, time, number)

    def _syn(
        self,
        half: Half | None,
        key: bytes,
        segment: Datagram,
        *,
        sequence: int,
        flags: int,
        time: float,
        number: int,
    ) -> Half:
        """The first packet of one side; a connection on the same ports may have been before it."""
        if half is not None and not flags & ACK:
            old = half.connection
            if old.late or old.over or old.syn_sequence != sequence or half.side is Side.ACCEPTOR:
                self._forget(old)
                half = None
        if half is None:
            half = self._open(key, segment, time, number, late=False, answer=bool(flags & ACK))
            half.connection.syn_sequence = sequence if not flags & ACK else -1
        connection = half.connection
        seen = connection.syn_acks if flags & ACK else connection.syns
        if len(seen) < REMEMBERED:
            seen.append((time, number))
        return half

    def _open(
        self,
        key: bytes,
        segment: Datagram,
        time: float,
        number: int,
        *,
        late: bool,
        answer: bool = False,
    ) -> Half:
        if len(self._connections) >= OPEN_CONNECTIONS:
            self._make_room()
        ports = key[-4:]
        source = (str(ip_address(segment.source)), int.from_bytes(ports[:2], "big"))
        destination = (str(ip_address(segment.destination)), int.from_bytes(ports[2:], "big"))
        back = segment.destination + segment.source + ports[2:] + ports[:2]
        from_server = answer or (late and self._from_server(source[1], destination[1]))
        if from_server:
            connection = Connection(destination, source, back, late, (time, number))
        else:
            connection = Connection(source, destination, key, late, (time, number))
        sender = connection.acceptor if from_server else connection.requestor
        self._flows[key], self._flows[back] = sender, sender.peer
        self._connections[connection.key] = connection
        self._listener.opened(connection)
        return sender

    def _from_server(self, source: int, destination: int) -> bool:
        """Whether a packet in the midst of a connection comes from the port that somebody listens on."""
        known, other = self._is_server_port(source), self._is_server_port(destination)
        return known if known is not other else source < destination

    def _data(
        self,
        half: Half,
        sequence: int,
        data: bytes,
        start: int,
        available: int,
        size: int,
        *,
        time: float,
        number: int,
    ) -> None:
        """A segment with data, of which `available` bytes of `size` were captured."""
        if size >= LARGE and half.large < 0:
            half.large = sequence
        ahead = distance(half.next, sequence)
        if ahead > 0:
            self._hold(half, sequence, data[start : start + available], time, number)
            return
        if ahead + size <= 0:
            # A keep-alive repeats one byte, or none.
            if size > 1 and not half.connection.over:
                half.repeat(sequence, size, time)
            return
        if half.peer.ack_time - half.time > SHORTEST_DELAY and half.peer.ack_time > half.peer.time:
            look_for_stall(half, time, number)
        half.time, half.frame = time, number
        half.data_packets += 1
        skip = -ahead
        half.next = (half.next + size - skip) & MASK
        if skip < available:
            half.put(data, start + skip, start + available, time, number)
            skip = available
        if skip < size:
            half.lack(size - skip, time, number, cut=True)
        if half.pending:
            self._drain(half)

    def _hold(self, half: Half, sequence: int, data: bytes, time: float, number: int) -> None:
        """A segment whose predecessors have not come yet."""
        held = half.pending.get(sequence)
        if held is not None and len(held[0]) >= len(data):
            return
        self._pending += len(data) - (len(held[0]) if held else 0)
        half.pending_size += len(data) - (len(held[0]) if held else 0)
        half.pending[sequence] = (data, time, number)
        half.plain = False
        if half.pending_size > PENDING or len(half.pending) > PENDING_SEGMENTS or self._pending > ALL_PENDING:
            self._give_up(half, time, number)

    def _drain(self, half: Half) -> None:
        """What was held and is next now."""
        origin = half.next
        for sequence in sorted(half.pending, key=lambda one: distance(origin, one)):
            ahead = distance(half.next, sequence)
            if ahead > 0:
                return
            data, time, number = half.pending.pop(sequence)
            half.pending_size -= len(data)
            self._pending -= len(data)
            if ahead + len(data) > 0:
                half.next = (half.next + len(data) + ahead) & MASK
                half.time, half.frame = time, number
                half.put(data, -ahead, len(data), time, number)
        half.plain = True

    def _settle(self, half: Half, time: float, number: int) -> None:
        """Whether what is missing was received, and so will not come again."""
        if not half.pending or half.peer.ack < 0:
            return
        first = min(distance(half.next, one) for one in half.pending)
        received = distance(half.next, half.peer.ack) >= first
        if received and (len(half.pending) >= SURE_GAP or half.peer.time >= half.time):
            self._give_up(half, time, number)

    def _give_up(self, half: Half, time: float, number: int) -> None:
        """The first gap stays one."""
        first = min(distance(half.next, one) for one in half.pending)
        if first > 0:
            half.lack(first, time, number, cut=False)
            half.next = (half.next + first) & MASK
        self._drain(half)

    def _fin(self, half: Half, sequence: int, time: float, number: int) -> None:
        connection = half.connection
        if half.closed:
            return
        half.closed = True
        if len(connection.ends) < REMEMBERED:
            connection.ends.append(End(False, half.side, time, number))
        half.fin = sequence
        if half.next == sequence:
            half.next = (sequence + 1) & MASK
        connection.over = connection.over or (half.peer.closed and half.closed)

    def _reset(self, half: Half, time: float, number: int, *, stranger: bool) -> None:
        connection = half.connection
        answer = half.side is Side.ACCEPTOR and not connection.syn_acks and not connection.late
        if len(connection.ends) < REMEMBERED:
            connection.ends.append(End(True, half.side, time, number, answer, stranger))
        for one in connection.halves:
            while one.pending:
                self._give_up(one, time, number)
        connection.over = True

    def _make_room(self) -> None:
        """Forgets the oldest connection that is over, else the oldest one."""
        candidates = iter(self._connections.values())
        oldest = next(candidates)
        for _, connection in zip(range(1_000), self._connections.values(), strict=False):
            if connection.over:
                oldest = connection
                break
        self._forget(oldest)

    def _forget(self, connection: Connection) -> None:
        for half in connection.halves:
            while half.pending:
                self._give_up(half, connection.last, half.frame)
            missing = distance(half.next, half.fin) if half.fin >= 0 else 0
            if missing > 0:
                half.lack(missing, connection.last, half.frame, cut=False)
            if half.window_closed:
                half.window_closed_longest = max(
                    half.window_closed_longest, connection.last - half.window_closed
                )
        if self._connections.get(connection.key) is connection:
            del self._connections[connection.key]
        for key in {connection.key, _back(connection.key)}:
            sender = self._flows.get(key)
            if sender is not None and sender.connection is connection:
                del self._flows[key]
        times = [time for half in connection.halves for time in (half.time, half.ack_time)]
        connection.last = max(connection.last, *times)
        self._listener.finished(connection)


def _back(key: bytes) -> bytes:
    """The key of what the other side sends."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[2 * size + 2 :] + key[2 * size : 2 * size + 2]
