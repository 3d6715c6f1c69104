"""One transport connection under an `UpperLayer`: bytes, TLS, flow control and deadlines (PS3.8 9.1).

The shell that acceptor and requestor share. It knows no DIMSE: what the protocol machine tells goes to its
`User`, in the loop's thread and within the call that received it, for the views in the events are over the
loop's receive buffer. Nothing is awaited here; every wait is a deadline, and one timer a connection serves
them all."""

from __future__ import annotations

import asyncio
import mmap
import socket
import ssl
import sys
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

import structlog

from dicomwire.association.greeting import (
    Foreign,
    Forwarded,
    decode_proxy,
    proxy_wanted,
    recognise,
)
from dicomwire.association.options import Timeouts
from dicomwire.association.recorder import Recorder, ends
from dicomwire.association.tls import Stream
from dicomwire.errors import DecodeError
from dicomwire.protocols import ASSOCIATE_RQ, LONGEST_SIGN, TLS_HANDSHAKE
from dicomwire.upper_layer.events import Event
from dicomwire.upper_layer.pdu import Buffer
from dicomwire.upper_layer.protocol import UpperLayer

BUFFER_LENGTH = 262_144  # bytes; 1 MiB leaves the processor's cache and halves the rate at 8 clients
WRITE_HIGH = 262_144  # bytes waiting in the transport at which senders wait
WRITE_LOW = 65_536
READ_AHEAD = 16_384  # bytes still read while paused: a C-CANCEL or A-ABORT behind a message that waits
MOST_BUFFERS = 1024  # buffers of one sendmsg (IOV_MAX on Linux)

QUICKACK = socket.TCP_QUICKACK if sys.platform == "linux" else None
DICOM_SIGN = ASSOCIATE_RQ[:1]  # the PDU type
TLS_SIGN = TLS_HANDSHAKE[:1]  # the record type

log = structlog.get_logger()


def receive_buffer(length: int = BUFFER_LENGTH) -> memoryview:
    """A buffer that all connections of one loop receive into; its pages exist once they are used."""
    return memoryview(mmap.mmap(-1, length))


class User(Protocol):
    """Who uses the Upper Layer of a connection: whoever negotiates, then the association."""

    def receive(self, events: list[Event]) -> None:
        """Take events; their views are valid during the call only."""

    def writable(self) -> None:
        """The transport takes more."""

    def expire(self, now: float) -> float:
        """Do what is due by `now`; the next moment at which something will be."""

    def foreign(self, words: str) -> None:
        """The peer is no DICOM peer, or its TLS handshake failed; the connection closes."""

    def lost(self, error: Exception | None) -> None:
        """The transport is gone; called once, last."""


class Connection(asyncio.BufferedProtocol):
    """A transport connection.

    Attributes:
        core: the protocol machine.
        user: who takes its events.
        peer_host, peer_port: the client's address, the forwarded one where a load balancer tells it.
        closed_by_peer: the peer closed the connection, or it broke.
        writable: the transport takes more; if not, `User.writable` will be called.
        heard: when the last bytes came.
        greeted: bytes have come, of whatever protocol; as acceptor.
        bytes_received, bytes_sent: so far, without what TLS adds.
        pauses: how often `pause` has been called.
    """

    def __init__(
        self,
        core: UpperLayer,
        *,
        timeouts: Timeouts,
        buffer: memoryview,
        tls: Stream | None = None,
        greeting: bool = False,
        proxied: bool = False,
        recorder: Recorder | None = None,
        arrived: Callable[[Connection], None] = lambda connection: None,
        gone: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        """Prepare a connection.

        Args:
            tls: the TLS stream to run under the Upper Layer.
            greeting: look for clients of other protocols in the first bytes, as acceptor.
            proxied: a PROXY header must come first.
            recorder: keeps what goes over it.
            arrived, gone: called once each, when the transport opens and last when it has closed.
        """
        self.core = core
        self.user: User
        self.timeouts = timeouts
        self.peer_host = ""
        self.peer_port = 0
        self.closed_by_peer = False
        self.writable = True
        self.heard = 0.0
        self.greeted = False
        self.bytes_received = 0
        self.bytes_sent = 0
        self.pauses = 0
        self.tls = tls
        self._arrived = arrived
        self._gone = gone
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._room = buffer  # where the next bytes go
        self._first = b""
        self._greeting = greeting
        self._take: Callable[[int], None] = self._take_proxy if proxied else self._first_stage()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._paused = 0
        self._ahead = (
            READ_AHEAD  # bytes that may still be read while paused; none is left where reading stands
        )
        self._feeding = False
        self._close_wanted = False
        self._begun = False  # the core knows that the transport is open
        self._over = False  # the core knows that the transport is closed
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = inf
        self._stage_deadline = inf  # of the PROXY header, the TLS handshake, a close
        self._stall_deadline = inf
        self._stalled_size = 0

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: with the PROXY header, the TLS handshake, or the Upper Layer at once."""
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's are none by name
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.peer_host, self.peer_port = name[0], name[1]
        self._socket = _prepare(transport)
        self.heard = self._loop.time()
        if self._recorder is not None:
            self._recorder.opened(*ends(transport, server=self._greeting))
        self._arrived(self)
        if self._take == self._take_proxy:
            self._room = self._buffer[: proxy_wanted(b"")]
            self._stage(self.timeouts.artim)
        elif self.tls is not None:
            self._begin_tls()
        else:
            self._begin()

    @property
    def encrypted(self) -> bool:
        """The TLS handshake is complete."""
        return self.tls is not None and self.tls.established

    def get_buffer(self, sizehint: int) -> memoryview:
        """The loop's buffer, or the part of it that the PROXY header may fill or that is read ahead."""
        return self._room[: max(self._ahead, 1)] if self._paused else self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        self.heard = self._loop.time()
        if self._paused:
            self._read_ahead(nbytes)
        try:
            self._take(nbytes)
        except Exception:
            log.exception("connection failed", peer=self.peer)
            self.abort()

    def eof_received(self) -> bool:
        """The peer has closed its side, and DICOM knows no half-open associations (PS3.8 9.2.1)."""
        if self._recorder is not None:
            self._recorder.closed(by_peer=True, error=None)
        self._peer_closed()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_at = -inf
        if self._socket is not None:
            self._socket.detach()
            self._socket = None
        if self._recorder is not None:
            self._recorder.closed(by_peer=exc is not None, error=exc)
        try:
            try:
                self._peer_closed()
            finally:
                self.user.lost(exc)
        except Exception:
            log.exception("connection failed", peer=self.peer)
        self._gone(self)

    def pause_writing(self) -> None:
        """The peer takes less than we have."""
        self.writable = False
        self._watch_stall()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.writable = True
        self._stall_deadline = inf
        self.user.writable()

    # For the user

    @property
    def peer(self) -> str:
        """The peer's address for logs: `host:port`, IPv6 in brackets."""
        host = f"[{self.peer_host}]" if ":" in self.peer_host else self.peer_host
        return f"{host}:{self.peer_port}"

    @property
    def closing(self) -> bool:
        """Nothing more can be sent."""
        return self._over or self._transport is None or self._transport.is_closing()

    def flush(self) -> bool:
        """Write what the protocol machine has to send, unless events are being fed: then that is done behind
        them.

        Returns: whether something was written.
        """
        if self._feeding:
            return False
        buffers = self.core.outgoing()
        if buffers and not self.closing:
            self._write(buffers)
        deadline = self.core.deadline
        if deadline is not None and deadline < self._armed_at:
            self.wake_by(deadline)
        if self._close_wanted or self.core.transport_close:
            self._close()
        return bool(buffers)

    def pause(self) -> None:
        """Stop reading, but for `READ_AHEAD` bytes, until `resume` has been called as often as this."""
        self._paused += 1
        self.pauses += 1
        if self._paused == 1:
            self._ahead = READ_AHEAD

    def resume(self) -> None:
        """Undo one `pause`."""
        self._paused -= 1
        if self._paused == 0:
            self.heard = self._loop.time()
            if self._ahead <= 0 and not self.closing and self._transport is not None:
                self._transport.resume_reading()

    @property
    def paused(self) -> bool:
        """Reading is paused."""
        return self._paused > 0

    def _read_ahead(self, count: int) -> None:
        self._ahead -= count
        if self._ahead <= 0 and not self.closing and self._transport is not None:
            self._transport.pause_reading()

    def close(self) -> None:
        """Close the transport once what is to be sent has been written."""
        self._close_wanted = True
        self.flush()

    def close_within(self, seconds: float) -> None:
        """Give the peer so long to close the transport, then do it ourselves."""
        self._stage(seconds)

    def abort(self) -> None:
        """Close the transport at once, whatever waits to be written."""
        if self._transport is not None:
            self._transport.abort()

    def wake_by(self, deadline: float) -> None:
        """Have `User.expire` called at `deadline` or before."""
        if deadline >= self._armed_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_at = deadline
        self._timer = self._loop.call_at(deadline, self._expire)

    # Stages: PROXY header, TLS handshake, first bytes, Upper Layer

    def _first_stage(self) -> Callable[[int], None]:
        if self.tls is not None:
            return self._take_tls_greeting if self._greeting else self._take_handshake
        return self._take_greeting if self._greeting else self._take_data

    def _stage(self, seconds: float) -> None:
        self._stage_deadline = self._loop.time() + seconds
        self.wake_by(self._stage_deadline)

    def _take_proxy(self, count: int) -> None:
        self.greeted = True
        self._first += self._buffer[:count]
        try:
            wanted = proxy_wanted(self._first)
            forwarded = decode_proxy(self._first) if not wanted else Forwarded()
        except DecodeError as error:
            self._turn_away(Foreign(f"no PROXY header, which this port is configured for: {error}"))
            return
        if wanted:
            self._room = self._buffer[:wanted]
            return
        self._first = b""
        self._room = self._buffer
        if forwarded.host is not None:
            self.peer_host, self.peer_port = forwarded.host, forwarded.port
        self._take = self._first_stage()
        if self.tls is not None:
            self._begin_tls()
        else:
            self._begin()

    def _begin_tls(self) -> None:
        self._stage(self.timeouts.tls)
        if self._take == self._take_handshake:
            self._handshake()

    def _take_tls_greeting(self, count: int) -> None:
        self.greeted = True
        first = bytes(self._buffer[: min(count, LONGEST_SIGN)])
        foreign = recognise(first)
        if first.startswith(DICOM_SIGN):
            foreign = Foreign("DICOM without TLS, on a port that is configured for TLS")
        if isinstance(foreign, Foreign) and not first.startswith(TLS_SIGN):
            self._turn_away(foreign)
            return
        self._take = self._take_handshake
        self._take_handshake(count)

    def _take_handshake(self, count: int) -> None:
        assert self.tls is not None
        if self._recorder is not None:
            self._recorder.received(self._buffer[:count])
        self.tls.feed(self._buffer[:count])
        self._handshake()

    def _handshake(self) -> None:
        assert self.tls is not None
        assert self._transport is not None
        try:
            done = self.tls.handshake()
        except ssl.SSLError as error:
            self._write_handshake(self.tls, self._transport)
            if self._recorder is not None:
                self._recorder.failed(error)
            self._dismiss(f"TLS handshake failed: {error.reason or error}")
            return
        self._write_handshake(self.tls, self._transport)
        if done:
            if self._recorder is not None:
                self._recorder.secured()
            self._take = self._take_tls
            self._stage_deadline = inf
            self._begin()
            self._take_tls(0)

    def _write_handshake(self, tls: Stream, transport: asyncio.Transport) -> None:
        data = tls.outgoing()
        if self._recorder is not None and data:
            self._recorder.sent((data,))
        transport.write(data)

    def _take_tls(self, count: int) -> None:
        assert self.tls is not None
        if count:
            self.tls.feed(self._buffer[:count])
        try:
            over = self.tls.receive(self._buffer, self._take_plain)
        except ssl.SSLError as error:
            log.info("TLS failed", peer=self.peer, reason=error.reason or str(error))
            if self._recorder is not None:
                self._recorder.failed(error)
            self.abort()
            return
        if over:
            self._peer_closed()
            self.close()

    def _take_plain(self, count: int) -> None:
        if self._take == self._discard:
            return
        if self._greeting:
            self._take_greeting(count)
        else:
            self._take_data(count)

    def _begin(self) -> None:
        self._begun = True
        self.core.connected(self._loop.time())
        self.flush()

    def _take_greeting(self, count: int) -> None:
        self.greeted = True
        if not self._first and self._buffer[0] == DICOM_SIGN[0]:
            self._greeting = False
            self._data_follows()
            self._take_data(count)
            return
        self._first += self._buffer[:count]
        verdict = recognise(self._first[:LONGEST_SIGN])
        if isinstance(verdict, Foreign):
            self._turn_away(verdict)
        elif not verdict:
            self._greeting = False
            self._data_follows()
            self._feed(memoryview(self._first))

    def _data_follows(self) -> None:
        if self.tls is None:
            self._take = self._take_data

    def _take_data(self, count: int) -> None:
        self._feed(self._buffer[:count])

    def _feed(self, data: memoryview) -> None:
        self.bytes_received += len(data)
        if self._recorder is not None:
            self._recorder.received(data)
        events = self.core.receive(data, self.heard)
        self._tell(events)
        if not self.flush() and QUICKACK is not None and self._socket is not None:
            # A peer that leaves Nagle's algorithm on sends the rest of its message only once this is
            # acknowledged, which the kernel would put off by 40 ms; the option does not last, so it is set
            # again each time.
            self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    def _tell(self, events: list[Event]) -> None:
        if not events:
            return
        self._feeding = True
        try:
            self.user.receive(events)
        finally:
            self._feeding = False

    def _discard(self, count: int) -> None:
        """Read on and forget: a close with unread bytes would be a reset, which can overtake our answer."""

    # The end

    def _turn_away(self, foreign: Foreign) -> None:
        if foreign.answer:
            self._write([foreign.answer])
        self._dismiss(foreign.protocol)

    def _dismiss(self, words: str) -> None:
        self.user.foreign(words)
        self._take = self._discard
        self._room = self._buffer
        if self._transport is not None and not self._transport.is_closing():
            if self.tls is not None and self.tls.established:
                self.tls.close()
                self._transport.write(self.tls.outgoing())
            self._transport.write_eof()
        self._stage(self.timeouts.linger)

    def _peer_closed(self) -> None:
        if self._over:
            return
        self._over = True
        if not self._begun or self._close_wanted:
            return
        self.closed_by_peer = True
        self._tell(self.core.closed(self._loop.time()))
        self.core.outgoing()

    def _close(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self.tls is not None and self.tls.established:
            self.tls.close()
            self._transport.write(self.tls.outgoing())
        self._transport.close()
        self._stage(self.timeouts.write)

    # Writing

    def _write(self, buffers: list[Buffer]) -> None:
        assert self._transport is not None
        length = sum(map(len, buffers))
        self.bytes_sent += length
        if self._recorder is not None:
            self._recorder.sent(buffers)
        if self.tls is not None and self.tls.established:
            for buffer in buffers:
                self.tls.write(buffer)
            self._transport.write(self.tls.outgoing())
            return
        if self._socket is not None and self._transport.get_write_buffer_size() == 0:
            buffers = self._send_now(self._socket, buffers, length)
        if len(buffers) == 1:
            self._transport.write(buffers[0])
        elif buffers:
            self._transport.writelines(buffers)

    @staticmethod
    def _send_now(own: socket.socket, buffers: list[Buffer], length: int) -> list[Buffer]:
        """Hand to the kernel what it takes at once, without a copy; what is left of these `length` bytes."""
        try:
            sent = own.sendmsg(buffers[:MOST_BUFFERS])
        except OSError:
            return buffers  # would block, or is broken: the transport finds out and says so in its way
        if sent == length:
            return []
        for index, buffer in enumerate(buffers):
            if sent < len(buffer):
                return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
            sent -= len(buffer)
        return []

    # Time

    def _expire(self) -> None:
        self._armed_at = inf
        self._timer = None
        now = self._loop.time()
        if now >= self._stage_deadline:
            self._stage_expired()
            return
        if now >= self._stall_deadline and self._stalled():
            return
        try:
            if self.core.deadline is not None and now >= self.core.deadline:
                self._tell(self.core.expire(now))
            due = self.user.expire(now)
            self.flush()
        except Exception:
            log.exception("connection failed", peer=self.peer)
            self.abort()
            return
        if self._over:
            return
        self.wake_by(min(due, self._stage_deadline, self._stall_deadline))

    def _stage_expired(self) -> None:
        if self._take == self._take_proxy:
            self.user.foreign(f"no PROXY header within {self.timeouts.artim:g} s")
        elif self.tls is not None and not self.tls.established and self._take != self._discard:
            self.user.foreign(f"TLS handshake not complete within {self.timeouts.tls:g} s")
        self.abort()

    def _watch_stall(self) -> None:
        if self._transport is not None:
            self._stalled_size = self._transport.get_write_buffer_size()
            self._stall_deadline = self._loop.time() + self.timeouts.write
            self.wake_by(self._stall_deadline)

    def _stalled(self) -> bool:
        if self._transport is not None and self._transport.get_write_buffer_size() < self._stalled_size:
            self._watch_stall()
            return False
        log.warning(
            "peer takes nothing", peer=self.peer, waiting=self._stalled_size, seconds=self.timeouts.write
        )
        self.abort()
        return True


def _prepare(transport: asyncio.Transport) -> socket.socket | None:
    """Set what every DICOM socket needs; the socket, for options and gathered writes beside the transport."""
    shared = transport.get_extra_info("socket")
    if shared is None or shared.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    if not hasattr(socket.socket, "sendmsg"):
        shared.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return None
    # The loops' stand-ins for the socket duplicate it on each call (uvloop) or lack sendmsg (asyncio). This
    # one shares the descriptor and is detached before the transport closes it.
    own = socket.socket(shared.family, shared.type, shared.proto, fileno=shared.fileno())
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return own
