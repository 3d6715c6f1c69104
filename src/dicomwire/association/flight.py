"""The flight recorder: the last associations with their PDUs, data sets cut, and why they ended as they did.

Kept are heads: whole PDUs but P-DATA-TF, and of that commands and the headers of data set fragments. Of a
long association the beginning and the end stay. All of it is bounded in number and in bytes, and holds no
value of any data set; credentials are masked when it is read.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from dicomwire.association.recorder import Endpoint
from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.trace import HEAD, Tap
from dicomwire.errors import DecodeError, LocalProtocolError
from dicomwire.upper_layer.codec import decode, encode
from dicomwire.upper_layer.items import UserIdentityRq
from dicomwire.upper_layer.pdu import HEADER_LENGTH, AssociateRq, Buffer, PduType

FIRST: Final = 120  # segments of an association kept from its beginning
LAST: Final = 120  # and before its end
LONGEST_HEAD: Final = 32_768  # bytes of one PDU
SHORT: Final = 4_096  # bytes of a segment that the next ones from the same side join
OVERHEAD: Final = 160  # bytes that a segment takes besides those it keeps
BYTES: Final = 16 << 20  # of all recordings together
GREATEST_GAP: Final = 1 << 20  # bytes by which a trace says that something was left out

_P_DATA_TF: Final = int(PduType.P_DATA_TF)
_PDU_AND_VALUE: Final = struct.Struct(">xxIIBB").unpack_from
_WHOLE: Final = 12  # bytes of both headers
_COMMAND: Final = 1  # bit of the message control header
_REQUESTOR, _ACCEPTOR = Side.REQUESTOR, Side.ACCEPTOR


class Segment:
    """Bytes that went one way in one piece.

    Attributes:
        moment: seconds since 1970.
        kept: the first of them.
        length: how many there were.
    """

    __slots__ = ("kept", "length", "moment", "side")

    def __init__(self, moment: float, side: Side, kept: bytes, length: int) -> None:
        self.moment = moment
        self.side = side
        self.kept = kept
        self.length = length


class _Way:
    """One direction of a stream: where in it we are."""

    __slots__ = ("head", "keep", "pdu", "skip")

    def __init__(self) -> None:
        self.head = bytearray()  # of the PDU or value at hand, while it is cut
        self.keep = 0  # bytes of it still to come that are kept
        self.skip = 0  # bytes of it behind these
        self.pdu = 0  # bytes of the P-DATA-TF at hand behind its values so far

    def cut(self, view: memoryview) -> list[tuple[bytes, int]]:
        """What is kept of the next bytes: pieces, and how long each was."""
        found: list[tuple[bytes, int]] = []
        index, start, kept, end = 0, 0, 0, len(view)
        while index < end:
            if self.keep:
                taken = min(self.keep, end - index)
                self.keep -= taken
                index += taken
                kept = index
            elif self.skip:
                taken = min(self.skip, end - index)
                self.skip -= taken
                index += taken
            elif not self.pdu and end - index >= _WHOLE and view[index] == _P_DATA_TF and not self.head:
                # The header of a P-DATA-TF and of its first value: nearly every PDU, read at once.
                length, value, _, control = _PDU_AND_VALUE(view, index)
                if kept < index:
                    found.append((bytes(view[start:kept]), index - start))
                    start = index
                index += _WHOLE
                kept = index
                self.pdu = length - value - 4 if length > value + 4 else 0
                if control & _COMMAND and 2 <= value <= end - index + 2 and value < LONGEST_HEAD:
                    index += value - 2  # the whole command is here
                    kept = index
                elif control & _COMMAND:
                    self._follow(value - 2, value - 2)
                else:
                    self.skip = max(0, value - 2)
            else:
                if kept < index:  # something was cut: what follows is a piece of its own
                    found.append((bytes(view[start:kept]), index - start))
                    start = index
                index = self._header(view, index, end)
                kept = index
        found.append((bytes(view[start:kept]), end - start))
        return found

    def _header(self, view: memoryview, index: int, end: int) -> int:
        """The next header, of a PDU or of a value in it; 6 bytes either way."""
        head = self.head
        taken = min(HEADER_LENGTH - len(head), end - index)
        head += view[index : index + taken]
        if len(head) == HEADER_LENGTH:
            if self.pdu:
                length = int.from_bytes(head[:4], "big") - 2
                self.pdu = max(0, self.pdu - length - HEADER_LENGTH)
                self._follow(length, length if head[5] & _COMMAND else 0)
            elif head[0] == _P_DATA_TF:
                self.pdu = int.from_bytes(head[2:], "big")
            else:
                length = int.from_bytes(head[2:], "big")
                self._follow(length, length)
            head.clear()
        return index + taken

    def _follow(self, length: int, wanted: int) -> None:
        self.keep = max(0, min(wanted, LONGEST_HEAD))
        self.skip = max(0, length - self.keep)


class Recording:
    """One connection, and what became of it; a `Recorder`.

    Attributes:
        id: of the association.
        requestor: we asked for it.
        began, ended: seconds since 1970; `ended` None while it lasts.
        client, server: its ends.
        calling_ae_title, called_ae_title: as in the request, "" before it.
        state: `connected`, `established`, `rejected`, `refused` or `ended`.
        reason: the true one, which the peer may not have been told.
        answer: what a peer that was rejected was told.
        performed: requests of the peer by message, once it is over.
        size: bytes it takes.
    """

    def __init__(self, id: str, grown: Callable[[int], None], *, requestor: bool = False) -> None:
        self.id = id
        self.requestor = requestor
        self._own, self._peer = (_REQUESTOR, _ACCEPTOR) if requestor else (_ACCEPTOR, _REQUESTOR)
        self.began = time.time()
        self.ended: float | None = None
        self.client: Endpoint = ("", 0)
        self.server: Endpoint = ("", 0)
        self.calling_ae_title = ""
        self.called_ae_title = ""
        self.state = "connected"
        self.reason = ""
        self.answer = ""
        self.performed: Mapping[str, int] = {}
        self.size = 0
        self.bytes = {_REQUESTOR: 0, _ACCEPTOR: 0}
        self._grown = grown
        self._ways = {_REQUESTOR: _Way(), _ACCEPTOR: _Way()}
        self._first: list[Segment] = []
        self._last: deque[Segment] = deque()
        self._omitted = {_REQUESTOR: 0, _ACCEPTOR: 0}
        self._latest: Segment | None = None
        self._closed: tuple[Side, bool] | None = None

    # From the connection

    def opened(self, client: Endpoint, server: Endpoint) -> None:
        """The TCP connection is there."""
        self.client, self.server = client, server

    def received(self, data: memoryview) -> None:
        """The peer's bytes."""
        self._take(self._peer, data)

    def sent(self, buffers: Sequence[Buffer]) -> None:
        """Our bytes."""
        for buffer in buffers:
            view = memoryview(buffer)
            self._take(self._own, view if view.format == "B" else view.cast("B"))

    def secured(self) -> None:
        """TLS is there: the handshake is forgotten."""
        self._grow(-self.size)
        self._first.clear()
        self._last.clear()
        self._latest = None
        self._ways = {_REQUESTOR: _Way(), _ACCEPTOR: _Way()}

    def failed(self, error: ssl.SSLError) -> None:
        """TLS failed."""
        self.reason = self.reason or f"TLS: {error.reason or error}"

    def closed(self, *, by_peer: bool, error: Exception | None) -> None:
        """The connection ends; the first call says who began it."""
        if self._closed is None:
            self._closed = (self._peer if by_peer else self._own, isinstance(error, ConnectionError))
        if self.ended is None:
            self.ended = time.time()

    # From the acceptor

    def note(self, reason: str) -> None:
        """Why the attempt ended."""
        self.state = "refused" if self.state == "connected" else self.state
        self.reason = reason

    def named(self, calling_ae_title: str, called_ae_title: str, state: str) -> None:
        """Who asked for what, and what became of it."""
        self.calling_ae_title, self.called_ae_title = calling_ae_title, called_ae_title
        self.state = state

    def finished(self, reason: str, performed: Mapping[str, int]) -> None:
        """The association is over."""
        self.state, self.reason, self.performed = "ended", reason, performed
        self.ended = time.time()

    # To be read

    @property
    def omitted(self) -> int:
        """Bytes left out in the middle."""
        return sum(self._omitted.values())

    def trace(self, mask: Callable[[str], str] = str) -> bytes:
        """A pcapng file of it, credentials masked.

        Args:
            mask: takes out of the reason what is not to be shown.
        """
        if not self.server[1]:
            return HEAD  # there was no connection
        tap = Tap(self.client, self.server)
        parts = [HEAD, tap.connected(self.began)]
        parts += [_packet(tap, segment) for segment in _without_credentials(self._first)]
        for side, count in self._omitted.items():
            tap.skip(side, min(count, GREATEST_GAP))
        parts += [_packet(tap, segment) for segment in self._last]
        latest = self._latest.moment if self._latest is not None else self.began
        if self.reason:
            parts.append(tap.note(mask(self.reason), latest))
        if self._closed is not None:
            side, reset = self._closed
            parts.append(tap.closed(side, max(latest, self.ended or 0), reset=reset))
        return b"".join(parts)

    def _take(self, side: Side, view: memoryview) -> None:
        way, length, latest = self._ways[side], len(view), self._latest
        self.bytes[side] += length
        if way.skip >= length and not way.keep and latest is not None and latest.side is side:
            way.skip -= length  # the middle of a data set, most of all bytes there are
            latest.length += length
            return
        moment = time.time()
        for kept, count in way.cut(view):
            latest = self._latest
            if latest is not None and latest.side is side and len(latest.kept) == latest.length < SHORT:
                latest.kept += kept  # a peer that trickles
                latest.length += count
                self._grow(len(kept))
                continue
            self._latest = segment = Segment(moment, side, kept, count)
            last = self._last
            if len(last) == LAST:  # the middle of a long association: one in, one out
                old = last.popleft()
                self._omitted[old.side] += old.length
                last.append(segment)
                if len(kept) != len(old.kept):
                    self._grow(len(kept) - len(old.kept))
            else:
                (self._first if len(self._first) < FIRST else last).append(segment)
                self._grow(len(kept) + OVERHEAD)

    def _grow(self, count: int) -> None:
        self.size += count
        self._grown(count)


def _packet(tap: Tap, segment: Segment) -> bytes:
    return tap.sent(segment.side, segment.kept, segment.moment, length=segment.length)


def _without_credentials(segments: Sequence[Segment]) -> list[Segment]:
    """The same with the A-ASSOCIATE-RQ masked, in however many pieces it came."""
    pieces: list[Segment] = []
    whole = b""
    for segment in segments:
        if segment.side is not _REQUESTOR or (pieces and len(whole) >= _length(whole)):
            break
        pieces.append(segment)
        whole += segment.kept
        if len(segment.kept) < segment.length:
            break
    if not whole.startswith(b"\x01"):
        return list(segments)
    end = _length(whole)
    masked = _masked(whole[:end]) + whole[end:] if len(whole) >= end else whole[:HEADER_LENGTH]
    shown, start = [], 0
    for piece in pieces:
        kept = masked[start : start + len(piece.kept)]
        start += len(piece.kept)
        shown.append(Segment(piece.moment, piece.side, kept, piece.length))
    return [*shown, *segments[len(pieces) :]]


def _length(pdu: bytes) -> int:
    """Bytes of a PDU, by its header."""
    if len(pdu) < HEADER_LENGTH:
        return HEADER_LENGTH
    return HEADER_LENGTH + int.from_bytes(pdu[2:HEADER_LENGTH], "big")


def _masked(pdu: bytes) -> bytes:
    """An A-ASSOCIATE-RQ with its user identity's credentials as asterisks; cut where it cannot be read."""
    with suppress(DecodeError, LocalProtocolError):
        request = decode(pdu[0], memoryview(pdu)[HEADER_LENGTH:], [])
        if not isinstance(request, AssociateRq):
            return pdu
        items = tuple(
            replace(one, primary=b"*" * len(one.primary), secondary=b"*" * len(one.secondary))
            if isinstance(one, UserIdentityRq)
            else one
            for one in request.user_information
        )
        if items == request.user_information:
            return pdu
        masked = encode(replace(request, user_information=items))
        return masked if len(masked) == len(pdu) else _cut(pdu)
    return _cut(pdu)


def _cut(pdu: bytes) -> bytes:
    """A PDU that cannot be shown: its header, and zeros."""
    return pdu[:HEADER_LENGTH] + bytes(len(pdu) - HEADER_LENGTH)


class FlightRecorder:
    """The last connections of an acceptor.

    Attributes:
        most: connections kept.
        size: bytes that they take.
    """

    def __init__(self, most: int, size: int = BYTES) -> None:
        """most: connections kept; size: bytes that they may take together."""
        self.size = 0
        self.most = most
        self._limit = size
        self._recordings: OrderedDict[str, Recording] = OrderedDict()

    def begin(self, id: str, *, requestor: bool = False) -> Recording:
        """Record a connection that arrives, or one of ours; the oldest ones give way."""
        recording = Recording(id, self._grown, requestor=requestor)
        self._recordings[id] = recording
        if len(self._recordings) > self.most:
            self._forget()
        return recording

    def forget(self, recording: Recording) -> None:
        """A connection on which nothing was said, as of a load balancer that looks whether we are there."""
        if self._recordings.pop(recording.id, None) is not None:
            self.size -= recording.size
            recording._grown = _ignore

    def find(self, id: str) -> Recording | None:
        """One of them."""
        return self._recordings.get(id)

    def __iter__(self) -> Iterator[Recording]:
        """The latest first."""
        return iter(reversed(list(self._recordings.values())))

    def _grown(self, count: int) -> None:
        self.size += count
        while self.size > self._limit and len(self._recordings) > 1:
            self._forget()

    def _forget(self) -> None:
        """The oldest that is over, or the oldest."""
        over = (one for one in self._recordings.values() if one.ended is not None)
        self.forget(next(over, None) or next(iter(self._recordings.values())))


def _ignore(count: int) -> None:
    """A recording that is no longer kept grows for nobody."""
