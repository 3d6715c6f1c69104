"""The listening side: connections in, associations or a reasoned refusal out (PS3.8 7.1, 9.3.3, 9.3.4)."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import inf

import structlog

from dicomwire.access.identity import Accepted, Credentials, Refused, Verifier
from dicomwire.association import admission
from dicomwire.association.admission import Admission, Census, Refusal
from dicomwire.association.agreement import Agreement, implementation
from dicomwire.association.association import Association
from dicomwire.association.connection import Connection, receive_buffer
from dicomwire.association.flight import FlightRecorder, Recording
from dicomwire.association.memo import Answer, Memo, answer
from dicomwire.association.options import AcceptorOptions, ProxyProtocol
from dicomwire.association.performer import Performer, Services
from dicomwire.association.tls import Stream
from dicomwire.association.words import printable
from dicomwire.errors import LocalProtocolError
from dicomwire.uids import APPLICATION_CONTEXT
from dicomwire.upper_layer import reasons
from dicomwire.upper_layer.codec import with_titles
from dicomwire.upper_layer.events import (
    AbortIndication,
    AssociateIndication,
    Event,
    TransportClose,
    Violation,
)
from dicomwire.upper_layer.items import (
    UserIdentityAc,
    UserIdentityRq,
)
from dicomwire.upper_layer.negotiation import Negotiation, negotiate, user_item
from dicomwire.upper_layer.pdu import AssociateRj, AssociateRq
from dicomwire.upper_layer.protocol import Policy, Role, State, TraceStep, UpperLayer
from dicomwire.upper_layer.reasons import (
    AbortSource,
    AcseReason,
    PresentationReason,
    RejectResult,
    RejectSource,
)

LIMIT_EXCEEDED = AssociateRj(
    RejectResult.REJECTED_TRANSIENT,
    RejectSource.SERVICE_PROVIDER_PRESENTATION,
    PresentationReason.LOCAL_LIMIT_EXCEEDED,
)
CONGESTION = AssociateRj(
    RejectResult.REJECTED_TRANSIENT,
    RejectSource.SERVICE_PROVIDER_PRESENTATION,
    PresentationReason.TEMPORARY_CONGESTION,
)
BAD_IDENTITY = AssociateRj(
    RejectResult.REJECTED_PERMANENT, RejectSource.SERVICE_PROVIDER_ACSE, AcseReason.NO_REASON_GIVEN
)

STOP_LINGER = 0.5  # seconds that peers have to close after the A-ABORT of a stopping node
STOP_QUIET = 1.0  # seconds without an operation after which a stopping node ends an association

Trace = Callable[[str], Callable[[TraceStep], None] | None]

log = structlog.get_logger()


class Acceptor:
    """Listens on a port and performs what its services perform.

    Attributes:
        options: as given; `reconfigure` changes them.
        services: what is performed for associations to come.
        verifier: of user identities, or None.
        census: the connections and associations at this moment.
    """

    def __init__(
        self,
        options: AcceptorOptions,
        services: Services,
        *,
        verifier: Verifier | None = None,
        trace: Trace | None = None,
        flight: FlightRecorder | None = None,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            services: by abstract syntax ("*" for any) and command class.
            verifier: of user identities; without one, item 58H is ignored (PS3.7 D.3.3.7).
            trace: gives, for a connection's id, a function that takes the steps of its state machine, or
                None.
            flight: keeps the last connections.
        """
        if not options.entities:
            raise LocalProtocolError("an acceptor needs an AE title")
        self.options = options
        self.census = Census()
        self.services = services
        self.verifier = verifier
        self._trace = trace
        self._flight = flight if flight is not None and flight.most else None
        self._memo = Memo(options.memo)
        self._servers: list[asyncio.Server] = []
        self._buffer = receive_buffer()
        self._arrivals: set[Arrival] = set()
        self._empty = asyncio.Event()
        self._stopping = False

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    @property
    def port(self) -> int:
        """The port of the first address, for a configured port 0."""
        return self.addresses[0][1]

    @property
    def associations(self) -> Mapping[str, Association]:
        """The established associations by id."""
        return self.census.associations

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen, on the configured address or on inherited sockets.

        Raises: OSError, when the address is in use or not ours.
        """
        loop = asyncio.get_running_loop()
        backlog = self.options.backlog
        for inherited in sockets:
            self._servers.append(await loop.create_server(self._connection, sock=inherited, backlog=backlog))
        if not sockets:
            host, port = self.options.host, self.options.port
            self._servers.append(await loop.create_server(self._connection, host, port, backlog=backlog))

    def reconfigure(self, options: AcceptorOptions, services: Services | None = None) -> None:
        """Let other rules hold for the associations to come; the address stays."""
        self.options = replace(options, host=self.options.host, port=self.options.port)
        self._memo = Memo(options.memo)
        if services is not None:
            self.services = services

    async def stop(self, grace: float = 10.0) -> None:
        """Listen no more; let operations in progress finish for `grace` seconds, then abort the rest."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for arrival in list(self._arrivals):
            arrival.dismiss("the node stops")
        for association in list(self.associations.values()):
            association.retire(STOP_QUIET)
        await self._wait_empty(grace)
        for association in list(self.associations.values()):
            association.abort(AbortSource.SERVICE_PROVIDER, why="the node stops, the grace time is over")
        await self._wait_empty(STOP_LINGER)
        for connection in self.census.half_open:
            connection.abort()
        await self._wait_empty(STOP_LINGER)
        for server in self._servers:
            await server.wait_closed()

    async def _wait_empty(self, seconds: float) -> None:
        if self.census.half_open or self.associations:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()

    def _connection(self) -> Connection:
        options = self.options
        arrival = Arrival(self)
        policy = Policy(artim=options.timeouts.artim, pdu_limit=options.maximum_pdu)
        trace = self._trace(arrival.id) if self._trace is not None else None
        if self._flight is not None:
            arrival.recording = self._flight.begin(arrival.id)
        connection = Connection(
            UpperLayer(Role.ACCEPTOR, policy, trace=trace, read=self._memo.decode),
            timeouts=options.timeouts,
            buffer=self._buffer,
            tls=Stream(options.tls, server_side=True) if options.tls is not None else None,
            greeting=True,
            proxied=options.proxy_protocol is ProxyProtocol.REQUIRED,
            recorder=arrival.recording,
            arrived=self._arrived,
            gone=self._gone,
        )
        arrival.connection = connection
        connection.user = arrival
        self._arrivals.add(arrival)
        return connection

    # For arrivals

    def negotiate(self, event: AssociateIndication, admitted: Admission, verdict: Accepted) -> Answer:
        """Negotiate, or remember how the same was negotiated before."""
        if verdict.server_response is not None:
            item = UserIdentityAc(verdict.server_response)
            return answer(negotiate(event.request, admitted.policy, user_identity=item))
        return self._memo.answer(event.request, event.data, admitted.policy)

    def established(self, arrival: Arrival, association: Association) -> None:
        """A connection has become an association."""
        self._arrivals.discard(arrival)
        arrival.connection.timeouts = association.timeouts
        self.census.left(arrival.connection)
        self.census.began(association)
        arrival.connection.user = association

    def ended(self, connection: Connection, association: Association) -> None:
        """An association is over; its connection lasts until the peer closes it."""
        recording = self._flight.find(association.id) if self._flight is not None else None
        if recording is not None:
            recording.finished(str(association.ended), dict(association.performed))
        self.census.ended(association)
        self.turned_away(connection)

    def turned_away(self, connection: Connection) -> None:
        """A connection waits only for its end: it takes no place of those that may become associations."""
        victim = self.census.closing(connection, self.options.limits.half_open)
        if victim is not None:
            victim.abort()

    def failed(self, arrival: Arrival) -> None:
        """A connection has gone without an association."""
        self._arrivals.discard(arrival)
        if self._flight is not None and arrival.recording is not None and not arrival.connection.greeted:
            self._flight.forget(arrival.recording)

    # From connections

    def _arrived(self, connection: Connection) -> None:
        self._evict(self.census.arrived(connection, self.options.limits.half_open))
        if self._stopping:
            connection.abort()

    def _evict(self, victim: Connection | None) -> None:
        if victim is not None:
            reason = f"{self.options.limits.half_open} connections without an association"
            log.info("connection closed", peer=victim.peer, reason=reason)
            victim.abort()

    def _gone(self, connection: Connection) -> None:
        self.census.left(connection)
        if not self.census.half_open and not self.associations:
            self._empty.set()


class Arrival:
    """A connection until its association is established or refused.

    Attributes:
        id: of the connection, and of the association that becomes of it.
        recording: what the flight recorder keeps of it.
    """

    def __init__(self, acceptor: Acceptor) -> None:
        self.id = secrets.token_hex(6)
        self.connection: Connection
        self._acceptor = acceptor
        self.recording: Recording | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = False  # accepted, rejected, turned away

    # From the connection

    def receive(self, events: list[Event]) -> None:
        """Take events up to the association's first."""
        for index, event in enumerate(events):
            if self.connection.user is not self:
                self.connection.user.receive(events[index:])
                return
            match event:
                case AssociateIndication():
                    self._indication(event)
                case Violation():
                    if self.connection.core.state is State.STA13:
                        self._turned_away()
                    self._log(
                        "peer breaks the protocol",
                        reason=event.message,
                        offset=event.offset,
                        field=event.field,
                        section=event.section,
                    )
                case AbortIndication():
                    self._aborted(event)
                case TransportClose():
                    self.connection.close()
                case _:
                    raise LocalProtocolError(f"{type(event).__name__} before the association")

    def writable(self) -> None:
        """Nothing waits."""

    def expire(self, now: float) -> float:
        """The deadlines before an association are the connection's own and ARTIM."""
        return inf

    def foreign(self, words: str) -> None:
        """A client of another protocol, or a TLS handshake that failed."""
        self._turned_away()
        self._log("connection refused", reason=words)

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._acceptor.failed(self)
        if self._task is not None:
            self._task.cancel()
        if not self._settled and self.connection.greeted:
            tls = self.connection.tls
            when = "before an association" if tls is None or tls.established else "within the TLS handshake"
            self._log("connection lost", reason=f"{when}{f': {error}' if error else ''}")

    # Deciding

    def _indication(self, event: AssociateIndication) -> None:
        acceptor, connection, request = self._acceptor, self.connection, event.request
        admitted = admission.admit(
            request, acceptor.options, host=connection.peer_host, tls=connection.encrypted
        )
        if isinstance(admitted, Refusal):
            self._reject(request, admitted)
            return
        limited = self._limited(request, admitted)
        if limited is not None:
            self._reject(request, limited)
            return
        item = user_item(request.user_information, UserIdentityRq)
        verifier = acceptor.verifier
        if verifier is None or (item is None and not verifier.policy.required):
            self._accept(event, admitted, Accepted(None))
            return
        self._task = asyncio.get_running_loop().create_task(self._verify(event, admitted, item, verifier))

    def _limited(self, request: AssociateRq, admitted: Admission) -> Refusal | None:
        """Whether there are too many; an association that has long been idle gives way."""
        acceptor, host = self._acceptor, self.connection.peer_host
        census, limits = acceptor.census, acceptor.options.limits
        if limits.associations_per_peer and census.of_host(host) >= limits.associations_per_peer:
            return Refusal(LIMIT_EXCEEDED, f"{limits.associations_per_peer} associations from {host} already")
        most = admitted.peer.associations if admitted.peer is not None else 0
        if most and census.of_title(request.calling_ae_title) >= most:
            return Refusal(LIMIT_EXCEEDED, f"{most} associations of {request.calling_ae_title!r} already")
        room = census.room(limits, asyncio.get_running_loop().time())
        if isinstance(room, Association):
            room.abort(why=f"{limits.associations} associations, and this one has been idle longest")
        elif not room:
            return Refusal(LIMIT_EXCEEDED, f"{limits.associations} associations already")
        return None

    async def _verify(
        self, event: AssociateIndication, admitted: Admission, item: UserIdentityRq | None, verifier: Verifier
    ) -> None:
        """Verify the user identity, which may take as long as a request may."""
        seconds = admitted.timeouts.artim
        credentials = Credentials(item.type, item.primary, item.secondary) if item is not None else None
        try:
            async with asyncio.timeout(seconds):
                verdict = await verifier.verify(credentials, now=time.time())
        except TimeoutError:
            self._reject(
                event.request, Refusal(CONGESTION, f"user identity not verified within {seconds:g} s")
            )
            return
        except Exception:
            log.exception("user identity could not be verified", **self._facts())
            self._reject(event.request, Refusal(BAD_IDENTITY, "user identity could not be verified"))
            return
        if isinstance(verdict, Refused):
            self._reject(event.request, Refusal(BAD_IDENTITY, f"user identity refused: {verdict.reason}"))
            return
        limited = self._limited(event.request, admitted)
        if limited is not None:
            self._reject(event.request, limited)
            return
        self._accept(event, admitted, verdict)

    def _accept(self, event: AssociateIndication, admitted: Admission, verdict: Accepted) -> None:
        """Let the request in: what remains to be seen is whether a context is."""
        acceptor, connection, request = self._acceptor, self.connection, event.request
        if connection.closing or connection.core.over:
            return
        answered = acceptor.negotiate(event, admitted, verdict)
        negotiation, refused = answered.negotiation, answered.refused
        if isinstance(negotiation.answer, AssociateRj):
            words = "; ".join(refused) or "the request has no presentation context"
            if request.application_context_name != APPLICATION_CONTEXT:
                words = f"application context {request.application_context_name!r}"
            self._reject(request, Refusal(negotiation.answer, words))
            return
        for violation in negotiation.violations:
            self._log("peer breaks the protocol", reason=violation)
        now = asyncio.get_running_loop().time()
        titled = with_titles(answered.encoded, request.called_ae_title, request.calling_ae_title)
        connection.core.send(negotiation.answer, now, encoded=titled)
        association = self._association(request, admitted, negotiation, verdict, refused)
        if self.recording is not None:
            self.recording.client = (self.connection.peer_host, self.connection.peer_port)
            self.recording.named(request.calling_ae_title, request.called_ae_title, "established")
        acceptor.established(self, association)
        log.info(
            "association accepted",
            **association.facts(),
            **association.agreement.described(),
            tls=connection.tls.describe() if connection.tls is not None else None,
        )
        connection.flush()

    def _association(
        self,
        request: AssociateRq,
        admitted: Admission,
        negotiation: Negotiation,
        verdict: Accepted,
        refused: tuple[str, ...],
    ) -> Association:
        acceptor = self._acceptor
        agreement = Agreement(
            called_ae_title=request.called_ae_title,
            calling_ae_title=request.calling_ae_title,
            contexts=negotiation.accepted,
            maximum_length=negotiation.maximum_length_to_send,
            invoke=negotiation.window.performed,
            perform=negotiation.window.invoked,
            implementation=implementation(request.user_information),
            identity=verdict.identity,
            refused=refused,
            character_set=admitted.peer.character_set if admitted.peer is not None else None,
            extended_negotiation=negotiation.extended_negotiation,
        )
        return Association(
            self.connection,
            agreement,
            partial(
                Performer,
                services=acceptor.services,
                window=negotiation.window.invoked,
                limits=acceptor.options.limits,
            ),
            id=self.id,
            requestor=False,
            timeouts=admitted.timeouts,
            limits=acceptor.options.limits,
            closed=partial(acceptor.ended, self.connection),
        )

    def _turned_away(self) -> None:
        """The answer is given, what is left is to wait for the peer to close."""
        if not self._settled:
            self._settled = True
            self._acceptor.turned_away(self.connection)

    def _reject(self, request: AssociateRq, refusal: Refusal) -> None:
        if self.connection.closing or self.connection.core.over:
            return
        self._turned_away()
        self.connection.core.send(refusal.answer, asyncio.get_running_loop().time())
        self.connection.flush()
        told = refusal.answer
        if self.recording is not None:
            self.recording.client = (self.connection.peer_host, self.connection.peer_port)
            self.recording.named(request.calling_ae_title, request.called_ae_title, "rejected")
            self.recording.note(refusal.words)
            self.recording.answer = reasons.reject_words(told.result, told.source, told.reason)
        log.info(
            "association rejected",
            **self._facts(),
            calling_ae_title=printable(request.calling_ae_title),
            called_ae_title=printable(request.called_ae_title),
            answer=reasons.reject_words(told.result, told.source, told.reason),
            reason=printable(refusal.words),
        )

    # The end of the attempt

    def dismiss(self, why: str) -> None:
        """Close a connection that has no association yet."""
        if not self._settled:
            self._log("connection closed", reason=why)
        self._settled = True
        self.connection.abort()

    def _aborted(self, event: AbortIndication) -> None:
        self._turned_away()
        if self._task is not None:
            self._task.cancel()
        words = reasons.abort_words(event.source, event.reason)
        if self.connection.closed_by_peer:
            words = "the peer closed the connection"
        self._log("association attempt ended", reason=words)

    def _facts(self) -> dict[str, str]:
        return {"association": self.id, "peer": self.connection.peer}

    def _log(self, event: str, *, reason: str, **facts: str | int) -> None:
        if self.recording is not None and not self.recording.answer:
            self.recording.note(reason)
        log.info(event, **self._facts(), reason=printable(reason), **facts)
