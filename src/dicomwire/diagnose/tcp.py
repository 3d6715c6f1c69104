"""Packets to TCP connections and their streams (RFC 9293), passively.

Reordering, retransmission, overlap, gaps, snap length, late starts, reused ports; every table is bounded. The
hot path is `Reassembly.run`: a full-sized segment in order, of a flow that is known, within bytes that the
stream does not want, costs one look at its headers and no call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, NamedTuple, Protocol

from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.internet import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Datagram,
    Fragments,
    Unreachable,
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
REMEMBERED: Final = 64  # events of each kind kept of a connection
SHORTEST_DELAY: Final = 0.030  # seconds of a delayed acknowledgement: 40 ms is Linux's shortest
LONGEST_DELAY: Final = 0.250  # 200 ms is Windows'
LARGE: Final = 1_000  # bytes of a segment that a path may not take, where it takes smaller ones
SLOW_RETRANSMISSION: Final = 0.1  # seconds; a timer's, which is at least 0.2
SEND_AFTER_ACK: Final = 0.005  # seconds within which a sender that waited for the ACK goes on

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_MASK: Final = 0xFFFFFFFF
# From IP's first byte: version, total length, fragment, protocol, addresses and ports, TCP up to the window.
_V4: Final = struct.Struct(">BxHxxHxB2x12sIIHH")
_V6: Final = struct.Struct(">4xHBx36sIIHH")
_TCP: Final = struct.Struct(">4sIIHH")


class Sink(Protocol):
    """Where the bytes of one direction go, in order."""

    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        """Bytes of the stream from `offset` on; returns how many of those that follow are not wanted."""

    def missing(self, offset: int, count: int, time: float, frame: int) -> None:
        """Wanted bytes that were not captured."""


class End(NamedTuple):
    """A FIN or an RST."""

    reset: bool
    side: Side
    time: float
    frame: int
    answer: bool = False  # of an RST: to a SYN


class Gap(NamedTuple):
    """Bytes that were not captured."""

    offset: int
    size: int
    time: float
    frame: int
    cut: bool  # by the snap length; else the packet is missing
    harmless: bool  # they were of no interest


class Stall(NamedTuple):
    """A sender that waited for a delayed acknowledgement."""

    seconds: float
    time: float
    frame: int


class Repeat(NamedTuple):
    """A segment that was sent again: how often, its bytes, when last."""

    times: int
    size: int
    time: float


class Half:
    """What one side sends.

    Attributes:
        sink: where it goes.
        next: sequence number of the next byte, -1 while unknown.
        skip: bytes that the sink does not want.
        plain: nothing pending, no closed window: the hot path may be taken.
        time, frame: of the last packet with data.
        ack, ack_time: the last acknowledgement that this side sent.
    """

    __slots__ = (
        "ack",
        "ack_time",
        "asked",
        "closed",
        "connection",
        "data_packets",
        "fin",
        "frame",
        "gaps",
        "large",
        "next",
        "offset",
        "peer",
        "pending",
        "pending_size",
        "plain",
        "retransmitted",
        "side",
        "sink",
        "skip",
        "stalls",
        "stalls_total",
        "time",
        "window_closed",
        "window_closed_longest",
    )

    def __init__(self, connection: Connection, side: Side) -> None:
        self.connection = connection
        self.side = side
        self.peer: Half = self
        self.sink: Sink = _NOBODY
        self.next = -1
        self.skip = 0
        self.asked = 0
        self.offset = 0
        self.plain = True
        self.pending: dict[int, tuple[bytes, float, int]] = {}
        self.pending_size = 0
        self.time = 0.0
        self.frame = 0
        self.ack = -1
        self.ack_time = 0.0
        self.closed = False
        self.fin = -1  # sequence number of the FIN
        self.data_packets = 0
        self.gaps: list[Gap] = []
        self.retransmitted: dict[int, Repeat] = {}
        self.large = -1  # sequence number of the first segment of at least LARGE bytes
        self.stalls: list[Stall] = []
        self.stalls_total = 0
        self.window_closed = 0.0  # since when this side takes nothing
        self.window_closed_longest = 0.0

    @property
    def position(self) -> int:
        """Bytes of the stream so far."""
        return self.offset + self.asked - self.skip

    @property
    def unacknowledged(self) -> int:
        """Bytes sent that the other side has not acknowledged, 0 where that is not known."""
        if self.next < 0 or self.peer.ack < 0:
            return 0
        return max(0, _distance(self.peer.ack, self.next))

    def advertise(self, window: int, time: float) -> None:
        """How much this side takes; 0 closes its window."""
        if not window:
            self.window_closed = self.window_closed or time
        elif self.window_closed:
            self.window_closed_longest = max(self.window_closed_longest, time - self.window_closed)
            self.window_closed = 0.0

    @property
    def large_lost(self) -> bool:
        """Segments of LARGE bytes were sent, and the other side acknowledged none of them."""
        return self.large >= 0 and _distance(self.large, self.peer.ack) <= 0

    def put(self, data: bytes, start: int, stop: int, time: float, frame: int) -> None:
        """The next bytes of the stream."""
        size = stop - start
        if size < self.skip:
            self.skip -= size
            return
        offset = self.offset + self.asked
        start += self.skip
        self.skip = self.asked = 0
        wanted = self.sink.receive(memoryview(data)[start:stop], offset, time, frame)
        self.offset = offset + stop - start
        self.skip = self.asked = wanted

    def repeat(self, sequence: int, size: int, time: float) -> None:
        """Data that was sent before; a packet captured twice or a fast retransmission tells nothing."""
        known = self.retransmitted.get(sequence)
        since = self.time if known is None else known.time
        if time - since < SLOW_RETRANSMISSION:
            return
        if known is not None or len(self.retransmitted) < REMEMBERED:
            self.retransmitted[sequence] = Repeat(known.times + 1 if known else 1, size, time)

    def lack(self, count: int, time: float, frame: int, *, cut: bool) -> None:
        """The next bytes of the stream were not captured."""
        position = self.position
        harmless = count <= self.skip
        if harmless:
            self.skip -= count
        else:
            self.sink.missing(position, count, time, frame)
            self.offset, self.skip, self.asked = position + count, 0, 0
        if len(self.gaps) < REMEMBERED:
            self.gaps.append(Gap(position, count, time, frame, cut, harmless))


class _Nobody:
    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        return 1 << 62

    def missing(self, offset: int, count: int, time: float, frame: int) -> None:
        return


_NOBODY: Final = _Nobody()


@dataclass(slots=True, eq=False)
class Connection:
    """What is known of one TCP connection.

    Attributes:
        client, server: address and port; who is which is guessed where `late`.
        key: addresses and ports of what the client sends.
        late: the capture begins after the connection's SYN.
        opened: time and frame of its first packet.
        last: time of its last one.
        syns: time and frame of each SYN.
        syn_acks: likewise.
        ends: FINs and RSTs.
        icmp: ICMP errors about it, with time and frame.
        over: it is closed by both sides, or reset.
    """

    client: tuple[str, int]
    server: tuple[str, int]
    key: bytes
    late: bool
    opened: tuple[float, int]
    last: float = 0.0
    syns: list[tuple[float, int]] = field(default_factory=list)
    syn_sequence: int = -1
    syn_acks: list[tuple[float, int]] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    icmp: list[tuple[Unreachable, float, int]] = field(default_factory=list)
    over: bool = False
    requestor: Half = field(init=False)
    acceptor: Half = field(init=False)

    def __post_init__(self) -> None:
        self.requestor, self.acceptor = Half(self, Side.REQUESTOR), Half(self, Side.ACCEPTOR)
        self.requestor.peer, self.acceptor.peer = self.acceptor, self.requestor

    @property
    def established(self) -> bool:
        """The client has answered the SYN, ACK, or the capture began later."""
        return self.late or self.requestor.ack >= 0

    def half(self, side: Side) -> Half:
        return self.requestor if side is Side.REQUESTOR else self.acceptor

    @property
    def halves(self) -> tuple[Half, Half]:
        return self.requestor, self.acceptor


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
        number, time = self.frames, self.last
        try:
            for number, time, data, start, captured, _, link_type in packets:
                at = start + offset
                if captured >= offset + 40:
                    first = data[at]
                    if first == 0x45:
                        _, total, fragment, protocol, key, sequence, ack, flags, window = unpack(data, at)
                        half = flows.get(key)
                        if (
                            half is not None
                            and sequence == half.next
                            and half.plain
                            and window
                            and (flags & 0x3F | PSH) == (ACK | PSH)
                            and not fragment & 0x3FFF
                            and protocol == TCP
                            and total + offset <= captured
                        ):
                            header = 20 + (flags >> 12 << 2)
                            size = total - header
                            if size > 0:
                                peer = half.peer
                                if peer.ack_time - half.time > SHORTEST_DELAY and peer.ack_time > peer.time:
                                    _look_for_stall(half, time, number)
                                half.next = (sequence + size) & _MASK
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
                            and (flags & 0x3F | PSH) == (ACK | PSH)
                            and protocol == TCP
                            and total + offset + 40 <= captured
                        ):
                            header = flags >> 12 << 2
                            size = total - header
                            if 0 < size < half.skip:
                                half.next = (sequence + size) & _MASK
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
            self._reset(half, time, number)
            return
        if flags & ACK:
            half.ack = ack
            if not size and not flags & (SYN | FIN):
                half.ack_time = time
        if not flags & (SYN | FIN):
            half.advertise(window, time)
        if flags & SYN:
            half.next = (sequence + 1) & _MASK
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
            self._fin(half, (sequence + size) & _MASK, time, number)

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
            if old.late or old.syn_sequence != sequence or half.side is Side.ACCEPTOR:
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
        ahead = _distance(half.next, sequence)
        if ahead > 0:
            self._hold(half, sequence, data[start : start + available], time, number)
            return
        if ahead + size <= 0:
            # A keep-alive repeats one byte, or none.
            if size > 1 and not half.connection.over:
                half.repeat(sequence, size, time)
            return
        if half.peer.ack_time - half.time > SHORTEST_DELAY and half.peer.ack_time > half.peer.time:
            _look_for_stall(half, time, number)
        half.time, half.frame = time, number
        half.data_packets += 1
        skip = -ahead
        half.next = (half.next + size - skip) & _MASK
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
        while half.pending:
            sequence = min(half.pending, key=lambda one: _distance(half.next, one))
            ahead = _distance(half.next, sequence)
            if ahead > 0:
                return
            data, time, number = half.pending.pop(sequence)
            half.pending_size -= len(data)
            self._pending -= len(data)
            if ahead + len(data) > 0:
                half.next = (half.next + len(data) + ahead) & _MASK
                half.time, half.frame = time, number
                half.put(data, -ahead, len(data), time, number)
        half.plain = True

    def _settle(self, half: Half, time: float, number: int) -> None:
        """Whether what is missing was received, and so will not come again."""
        if not half.pending or half.peer.ack < 0:
            return
        first = min(_distance(half.next, one) for one in half.pending)
        received = _distance(half.next, half.peer.ack) >= first
        if received and (len(half.pending) >= SURE_GAP or half.peer.time >= half.time):
            self._give_up(half, time, number)

    def _give_up(self, half: Half, time: float, number: int) -> None:
        """The first gap stays one."""
        first = min(_distance(half.next, one) for one in half.pending)
        if first > 0:
            half.lack(first, time, number, cut=False)
            half.next = (half.next + first) & _MASK
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
            half.next = (sequence + 1) & _MASK
        connection.over = connection.over or (half.peer.closed and half.closed)

    def _reset(self, half: Half, time: float, number: int) -> None:
        connection = half.connection
        answer = half.side is Side.ACCEPTOR and not connection.syn_acks and not connection.late
        if len(connection.ends) < REMEMBERED:
            connection.ends.append(End(True, half.side, time, number, answer))
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
            missing = _distance(half.next, half.fin) if half.fin >= 0 else 0
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


def _look_for_stall(half: Half, time: float, number: int) -> None:
    """The peer acknowledged and said nothing else since this side's last data: was that waited for?"""
    waited, after = half.peer.ack_time - half.time, time - half.peer.ack_time
    if half.time and waited <= LONGEST_DELAY and after <= SEND_AFTER_ACK:
        half.stalls_total += 1
        if len(half.stalls) < REMEMBERED:
            half.stalls.append(Stall(waited, time, number))


def _distance(origin: int, sequence: int) -> int:
    """How far a sequence number is ahead of another, negative behind it."""
    return ((sequence - origin + 0x80000000) & _MASK) - 0x80000000


def _back(key: bytes) -> bytes:
    """The key of what the other side sends."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[2 * size + 2 :] + key[2 * size : 2 * size + 2]
