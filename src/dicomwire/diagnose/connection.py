"""What is known of TCP connections: their ends, gaps, stalls, and the stream of each side (RFC 9293).

`tcp` fills it in from packets; rules read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.internet import Unreachable

REMEMBERED: Final = 64  # events of each kind kept of a connection
SHORTEST_DELAY: Final = 0.030  # seconds of a delayed acknowledgement: 40 ms is Linux's shortest
LONGEST_DELAY: Final = 0.250  # 200 ms is Windows'
LARGE: Final = 1_000  # bytes of a segment that a path may not take, where it takes smaller ones
SLOW_RETRANSMISSION: Final = 0.1  # seconds; a timer's, which is at least 0.2
SEND_AFTER_ACK: Final = 0.005  # seconds within which a sender that waited for the ACK goes on
MASK: Final = 0xFFFFFFFF


class Sink(Protocol):
    """Where the bytes of one direction go, in order."""

    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        """Bytes of the stream from `offset` on; returns how many of those that follow are not wanted."""

    def missing(self, offset: int, count: int, time: float, frame: int) -> bool:
        """Wanted bytes that were not captured; whether that did no harm."""


class End(NamedTuple):
    """A FIN or an RST."""

    reset: bool
    side: Side
    time: float
    frame: int
    answer: bool = False  # of an RST: to a SYN
    stranger: bool = False  # of an RST: without ACK, by an end that knows no such connection (RFC 9293 3.5.2)


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
        return max(0, distance(self.peer.ack, self.next))

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
        return self.large >= 0 and distance(self.large, self.peer.ack) <= 0

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
            harmless = self.sink.missing(position, count, time, frame)
            self.offset, self.skip, self.asked = position + count, 0, 0
        if len(self.gaps) < REMEMBERED:
            self.gaps.append(Gap(position, count, time, frame, cut, harmless))


class _Nobody:
    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        return 1 << 62

    def missing(self, offset: int, count: int, time: float, frame: int) -> bool:
        return True


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

    @property
    def unseen(self) -> Side | None:
        """The side of which no packet was captured, though the other one talks to it."""
        for half in self.halves:
            if half.next < 0 and half.peer.position and half.peer.ack >= 0:
                return half.side
        return None

    def half(self, side: Side) -> Half:
        return self.requestor if side is Side.REQUESTOR else self.acceptor

    @property
    def halves(self) -> tuple[Half, Half]:
        return self.requestor, self.acceptor


def look_for_stall(half: Half, time: float, number: int) -> None:
    """The peer acknowledged and said nothing else since this side's last data: was that waited for?"""
    waited, after = half.peer.ack_time - half.time, time - half.peer.ack_time
    if half.time and waited <= LONGEST_DELAY and after <= SEND_AFTER_ACK:
        half.stalls_total += 1
        if len(half.stalls) < REMEMBERED:
            half.stalls.append(Stall(waited, time, number))


def distance(origin: int, sequence: int) -> int:
    """How far a sequence number is ahead of another, negative behind it."""
    return ((sequence - origin + 0x80000000) & MASK) - 0x80000000
