"""Listens to one side of a connection: tells its protocol by the first bytes, then reads it."""

from __future__ import annotations

from typing import Final

from dicomwire.diagnose.connection import Connection
from dicomwire.diagnose.finding import Side, escaped
from dicomwire.diagnose.stream import NOTHING_MORE, Listener, PduStream, Place, is_dicom
from dicomwire.diagnose.tls import TLSStream
from dicomwire.protocols import LONGEST_SIGN, Protocol, may_become, protocol_of, proxy_length

FIRST_BYTES: Final = 1_024  # kept of each side


class Ear:
    """Listens to one side: tells the protocol by its first bytes, then reads it.

    Attributes:
        side: who speaks.
        first: its first bytes.
        protocol: what it speaks, None while that is not clear.
        stream: its PDUs, where it speaks DICOM.
        tls: its records, where it speaks TLS.
        proxy: words of a PROXY header that came first, "" without.
    """

    __slots__ = (
        "_connection",
        "_listener",
        "first",
        "first_place",
        "protocol",
        "proxy",
        "side",
        "stream",
        "tls",
    )

    def __init__(self, side: Side, listener: Listener, connection: Connection) -> None:
        self.side = side
        self.first = bytearray()
        self.first_place: Place | None = None
        self.protocol: Protocol | None = None
        self.stream: PduStream | None = None
        self.tls: TLSStream | None = None
        self.proxy = ""
        self._listener = listener
        self._connection = connection

    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        if self.stream is not None:
            return self.stream.receive(view, offset, time, frame)
        if self.tls is not None:
            return self.tls.receive(view, offset, time, frame)
        if self.first_place is None:
            self.first_place = Place(time, frame, 0, len(view))
        if self.protocol is None:
            known = len(self.first)
            self.first += view[: FIRST_BYTES - known]
            self._recognise(late=self._connection.late)
            if self.protocol is None:
                return 0
            rest = view[len(self.first) - known :]
            return self._begin(rest, offset + len(view) - len(rest), time, frame)
        self.first += view[: FIRST_BYTES - len(self.first)]
        return NOTHING_MORE if len(self.first) >= FIRST_BYTES else 0

    def missing(self, offset: int, count: int, time: float, frame: int) -> bool:
        if self.stream is not None:
            return self.stream.missing(offset, count, time, frame)
        if self.tls is not None:
            return self.tls.missing(offset, count, time, frame)
        if self.protocol is None:
            self.protocol = Protocol.DICOM
            self.stream = PduStream(self.side, self._listener, late=True, position=offset + count)
        return False

    def _recognise(self, *, late: bool) -> None:
        first = bytes(self.first)
        sign = protocol_of(first)
        if sign is Protocol.PROXY:
            length = proxy_length(first)
            if length is not None and len(first) >= length:
                self.proxy = escaped(first[:length].decode("latin-1").strip())
                del self.first[:length]
                self._recognise(late=late)
            elif len(first) >= FIRST_BYTES:
                self.protocol = Protocol.PROXY
        elif sign is not Protocol.UNKNOWN:
            self.protocol = sign
        elif late or is_dicom(first):
            self.protocol = Protocol.DICOM
        elif len(first) >= LONGEST_SIGN or (first and not 1 <= first[0] <= 7 and not may_become(first)):
            self.protocol = Protocol.UNKNOWN

    def _begin(self, rest: memoryview, offset: int, time: float, frame: int) -> int:
        """The protocol is known: read what was kept, then the rest of the bytes at hand."""
        start = offset - len(self.first)
        if self.protocol is Protocol.DICOM:
            late = self._connection.late
            self.stream = PduStream(self.side, self._listener, late=late, position=start)
            wanted = self.stream.receive(memoryview(bytes(self.first)), start, time, frame)
            return self._continue(self.stream, rest, offset, wanted, time, frame)
        if self.protocol is Protocol.TLS:
            self.tls = TLSStream(self.side)
            self.tls.receive(memoryview(bytes(self.first)), start, time, frame)
            return self.tls.receive(rest, offset, time, frame)
        self.first += rest[: FIRST_BYTES - len(self.first)]
        return NOTHING_MORE if len(self.first) >= FIRST_BYTES else 0

    def _continue(
        self, stream: PduStream, rest: memoryview, offset: int, wanted: int, time: float, frame: int
    ) -> int:
        """What remains of a segment whose beginning was already read."""
        if not len(rest):
            return wanted
        if len(rest) < wanted:
            return wanted - len(rest)
        return stream.receive(rest[wanted:], offset + wanted, time, frame)
