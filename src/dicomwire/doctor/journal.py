"""What the doctor's own connections carried, as a trace that the rules of diagnosis explain."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomwire.association.recorder import Endpoint
from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Side, Story
from dicomwire.diagnose.trace import HEAD, Tap
from dicomwire.upper_layer.pdu import Buffer

LONGEST: Final = 4 << 20  # bytes kept of one connection


@dataclass(slots=True, eq=False)
class Line:
    """One connection of ours; a `Recorder` for associations, told by hand for raw sockets.

    Attributes:
        client, server: its ends.
        opened_at, secured_at: seconds since 1970; None while it is not.
        answered_at: when the peer's first byte came.
        tls_error: what broke TLS.
        over: set once it has ended.
        received_bytes: of the peer, as the Upper Layer sees them.
        first: the peer's first bytes on the wire.
    """

    now: Callable[[], float]
    client: Endpoint = ("", 0)
    server: Endpoint = ("", 0)
    opened_at: float | None = None
    secured_at: float | None = None
    answered_at: float | None = None
    tls_error: ssl.SSLError | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    received_bytes: int = 0
    first: bytes | None = None
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    _tap: Tap | None = None
    _kept: int = 0

    def opened(self, client: Endpoint, server: Endpoint) -> None:
        """The TCP connection is there."""
        self.client, self.server = client, server
        self.opened_at = self.now()
        self._begin(self.opened_at)

    def received(self, data: bytes | memoryview) -> None:
        """The peer's bytes."""
        self.received_bytes += len(data)
        if self.first is None:
            self.first = bytes(data[:64])
        moment = self.now()
        self.answered_at = self.answered_at or moment
        self._sent(Side.ACCEPTOR, data, moment)

    def sent(self, buffers: Sequence[Buffer]) -> None:
        """Our bytes."""
        for buffer in buffers:
            self._sent(Side.REQUESTOR, memoryview(buffer).cast("B"), self.now())

    def secured(self) -> None:
        """TLS is there: what went before is forgotten, the rules read plain text."""
        self.secured_at = self.now()
        self.answered_at = None
        self.received_bytes = 0
        self.packets.clear()
        self._begin(self.opened_at or self.secured_at)

    def failed(self, error: ssl.SSLError) -> None:
        """TLS failed."""
        self.tls_error = self.tls_error or error

    def closed(self, *, by_peer: bool, error: Exception | None) -> None:
        """The connection ends; the first call says who began it."""
        if self.over.is_set() or self._tap is None:
            return
        self.over.set()
        moment = self.now()
        side = Side.ACCEPTOR if by_peer else Side.REQUESTOR
        reset = isinstance(error, ConnectionResetError | BrokenPipeError)
        self.packets.append((moment, self._tap.closed(side, moment, reset=reset)))

    def _begin(self, moment: float) -> None:
        self._tap = Tap(self.client, self.server)
        self.packets.append((moment, self._tap.connected(moment)))

    def _sent(self, side: Side, data: bytes | memoryview, moment: float) -> None:
        if self._tap is None:
            return
        kept = memoryview(data)[: max(LONGEST - self._kept, 0)]
        self._kept += len(kept)
        self.packets.append((moment, self._tap.sent(side, kept, moment, length=len(data))))


@dataclass(slots=True)
class Journal:
    """All connections of one examination, in the order in which they were opened."""

    now: Callable[[], float]
    lines: list[Line] = field(default_factory=list)

    def line(self) -> Line:
        """A new connection."""
        line = Line(self.now)
        self.lines.append(line)
        return line

    def capture(self) -> bytes:
        """Everything, as pcapng."""
        packets = [packet for line in self.lines for packet in line.packets]
        packets.sort(key=lambda packet: packet[0])
        return HEAD + b"".join(data for _, data in packets)

    def story(self, line: Line) -> Story | None:
        """What the rules say of one connection, with all others in sight; None where it never was there."""
        stories = explain("probe", [self.capture()]).stories
        return next((one for one in stories if _is_of(one, line)), None)


def _is_of(story: Story, line: Line) -> bool:
    requestor, acceptor = story.requestor, story.acceptor
    return (requestor.port, acceptor.port) == (line.client[1], line.server[1]) and line.opened_at is not None
