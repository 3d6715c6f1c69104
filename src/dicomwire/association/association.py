"""An association, from its acceptance to its end: messages in and out over one connection (PS3.7 7, PS3.8 7).

Acceptor and requestor use the same class; both may invoke and both may perform. Views of data sets go from
the
receive buffer to the sink of their request within the call that received them: none is queued, none is
    joined.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from math import inf
from typing import Protocol

import structlog

from dicomwire.access.identity import Identity
from dicomwire.association.agreement import Agreement
from dicomwire.association.connection import Connection
from dicomwire.association.invoker import Invoker, Prepared, Reading, Response
from dicomwire.association.options import Limits, Timeouts
from dicomwire.association.outbox import Outbox
from dicomwire.association.words import printable
from dicomwire.dimse import command as dimse
from dicomwire.dimse.message import Assembler, CommandReceived, DataSetFragment
from dicomwire.errors import (
    Aborted,
    AssociationEnded,
    AssociationError,
    AssociationTimeout,
    ConnectionLost,
    LocalProtocolError,
    MessageError,
)
from dicomwire.upper_layer import reasons
from dicomwire.upper_layer.events import (
    AbortIndication,
    DataFragment,
    Event,
    ReleaseConfirmation,
    ReleaseIndication,
    TransportClose,
    Violation,
)
from dicomwire.upper_layer.negotiation import AcceptedContext
from dicomwire.upper_layer.pdu import Abort, Buffer, ReleaseRp, ReleaseRq

MOST_VIOLATIONS = 20  # logged of one association

log = structlog.get_logger()


class Release:
    """How far the release is.

    Attributes:
        asked: we want it.
        sent: our A-RELEASE-RQ has gone out.
        owed: the peer wants it, and has no answer yet.
        collided: both did at the same time.
        due: when the peer's answer is late.
    """

    __slots__ = ("asked", "collided", "due", "owed", "sent")

    def __init__(self) -> None:
        self.asked = self.sent = self.owed = self.collided = False
        self.due = inf


class Incoming(Protocol):
    """Who performs the peer's requests; `performer.Performer`."""

    @property
    def performed(self) -> Counter[str]:
        """Requests so far, by message."""

    @property
    def busy(self) -> bool:
        """A request has no final answer yet."""

    def request(self, context: AcceptedContext, command: dimse.Request) -> None:
        """Take a request."""

    def fragment(self, data: memoryview, *, last: bool) -> None:
        """Take some of the data set of the last request."""

    def cancel(self, message_id: int) -> None:
        """Take a C-CANCEL."""

    def close(self, reason: str) -> None:
        """The association is over."""


class Association:
    """An established association.

    Attributes:
        id: names it in the log.
        requestor: we opened it.
        agreement: what was negotiated.
        timeouts: those that hold for it.
        began: loop time of the acceptance.
        ended: why it is over, None while it is not.
    """

    def __init__(
        self,
        connection: Connection,
        agreement: Agreement,
        incoming: Callable[[Association, Outbox], Incoming],
        *,
        id: str,
        requestor: bool,
        timeouts: Timeouts,
        limits: Limits,
        closed: Callable[[Association], None] = lambda association: None,
    ) -> None:
        self.id = id
        self.requestor = requestor
        self.agreement = agreement
        self.ended: AssociationError | None = None
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self.timeouts = timeouts
        self._closed = closed
        self._assembler = Assembler()
        self._outbox = Outbox(
            connection, agreement.maximum_length, failed=self._broken_off, empty=self.settled
        )
        self._invoker = Invoker(
            self._outbox,
            Reading(self.pause, self.resume),
            window=min(agreement.invoke or limits.performed, limits.performed),
            response_limit=limits.response_bytes,
            abort=self._give_up,
        )
        self._incoming = incoming(self, self._outbox)
        self._answering = False  # the data set that comes in belongs to an answer
        self._in_message = False
        self._messages = 0
        self._violations = 0
        self._fault = ""  # what the peer did wrong within this read
        self._release = Release()
        self._quiet = inf if requestor else timeouts.idle
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.began = self._active = self._loop.time()
        self._check_due = self.began + timeouts.progress
        self._checked: tuple[int, int, int] | None = None
        connection.wake_by(self.began + timeouts.shortest_running())

    # What it is

    @property
    def called_ae_title(self) -> str:
        """Who was called."""
        return self.agreement.called_ae_title

    @property
    def calling_ae_title(self) -> str:
        """Who called."""
        return self.agreement.calling_ae_title

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """The accepted presentation contexts by ID."""
        return self.agreement.contexts

    @property
    def identity(self) -> Identity | None:
        """The verified user, if one was named."""
        return self.agreement.identity

    @property
    def character_set(self) -> str | None:
        """Specific Character Set configured for the peer, for a request that names none."""
        return self.agreement.character_set

    @property
    def peer(self) -> str:
        """The peer's address, `host:port`."""
        return self._connection.peer

    @property
    def peer_host(self) -> str:
        """The peer's address without its port."""
        return self._connection.peer_host

    @property
    def implementation_class_uid(self) -> str:
        """The peer's Implementation Class UID, "" where it gave none."""
        return self.agreement.implementation.class_uid

    @property
    def implementation_version_name(self) -> str:
        """The peer's Implementation Version Name, "" where it gave none."""
        return self.agreement.implementation.version_name

    @property
    def peer_certificate(self) -> bytes | None:
        """The certificate the peer showed under TLS, DER."""
        tls = self._connection.tls
        return tls.peer_certificate() if tls is not None else None

    @property
    def performed(self) -> Counter[str]:
        """Requests that came in, by message."""
        return self._incoming.performed

    @property
    def invoked(self) -> Counter[str]:
        """Requests that we sent, by message."""
        return self._invoker.invoked

    @property
    def bytes_received(self) -> int:
        """Bytes of PDUs received."""
        return self._connection.bytes_received

    @property
    def bytes_sent(self) -> int:
        """Bytes of PDUs sent."""
        return self._connection.bytes_sent

    @property
    def busy(self) -> bool:
        """An operation is in progress, or a message in the middle."""
        return bool(self._incoming.busy or self._outbox or self._invoker.outstanding or self._in_message)

    @property
    def last_active(self) -> float:
        """Loop time at which the last message came or went."""
        return self._active

    def contexts_for(self, abstract_syntax: str) -> list[AcceptedContext]:
        """The accepted contexts of an abstract syntax, in the order of their IDs."""
        return [context for context in self.contexts.values() if context.abstract_syntax == abstract_syntax]

    # Flow control

    def pause(self) -> None:
        """Stop reading until `resume` has been called as often as this."""
        self._connection.pause()

    def resume(self) -> None:
        """Undo one `pause`."""
        self._connection.resume()

    # Invoking

    def next_message_id(self) -> int:
        """A message ID that no outstanding request of ours has, for whoever wants to cancel by it."""
        return self._invoker.next_message_id()

    async def request(
        self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None = None
    ) -> Response:
        """Invoke an operation or notification and wait for its final answer.

        Args:
            context_id: an accepted presentation context.
            command: its message ID 0 asks for one that is free.
            data: pieces of the data set in the context's transfer syntax, taken as the peer takes them. They
                are not copied and have to stay as they are until this returns.

        Raises: LocalProtocolError, for a context that was not accepted or a message ID in use;
            AssociationEnded, when the association is or gets over; AssociationTimeout, when no answer comes
            in time.
        """
        self._require_context(context_id)
        return await self._invoker.request(context_id, command, data)

    def prepare(
        self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None = None
    ) -> Prepared:
        """Make a request ready to go out later, by `invoke`; arguments and exceptions are those of `request`.

        Raises: what the pieces of the data set raise, too.
        """
        self._require_context(context_id)
        return self._invoker.prepare(context_id, command, data)

    async def invoke(self, made: Callable[[], Prepared]) -> Response:
        """Invoke a prepared request and wait for its final answer; exceptions are those of `request`.

        Args:
            made: gives it when the window has room for it; what it raises is raised here.
        """
        self._require_open()
        return await self._invoker.invoke(made)

    def requests(
        self, context_id: int, command: dimse.Request, data: Iterable[Buffer] | None = None
    ) -> AsyncGenerator[Response, None]:
        """Invoke an operation and yield each of its answers, the final one last.

        Leaving before that sends a C-CANCEL. Arguments and exceptions are those of `request`.
        """
        self._require_context(context_id)
        return self._invoker.requests(context_id, command, data)

    def cancel(self, message_id: int) -> None:
        """Send C-CANCEL for an outstanding request; its final answer comes all the same (PS3.7 9.3.2.3)."""
        self._invoker.cancel(message_id)

    # Ending

    async def release(self) -> None:
        """End the association in order; what is outstanding is waited for by whoever asked for it, not here.

        Raises: AssociationTimeout, when the peer does not answer; Aborted or ConnectionLost, when it ends
            otherwise.
        """
        if self.ended is None and not self._release.asked:
            self._release.asked = True
            self._release.due = self._loop.time() + self.timeouts.release
            self._connection.wake_by(self._release.due)
            self.settled()
        elif self.ended is not None and not self._gone.done():
            self._connection.close_within(self.timeouts.linger)
        await asyncio.shield(self._gone)
        if isinstance(self.ended, Aborted | ConnectionLost | AssociationTimeout):
            raise self.ended

    def abort(self, source: int = 0, reason: int = 0, *, why: str = "aborted by us") -> None:
        """End the association at once with A-ABORT (PS3.8 9.3.8).

        Args:
            source: 0 service-user; 2 service-provider, with its `reason`.
            why: words for the log.
        """
        self._abort(Aborted(why, source=source, reason=reason), f"aborted by us: {why}")

    async def wait_closed(self) -> None:
        """Wait until the transport is closed."""
        await asyncio.shield(self._gone)

    def retire(self, quiet: float) -> None:
        """Abort as soon as nothing has been in progress for `quiet` seconds: the node stops."""
        self._quiet = quiet
        self._connection.wake_by(self._active + quiet)

    def close(self) -> None:
        """Close the transport behind what is to be written, without waiting for the peer to do it."""
        self._connection.close()

    # From the connection

    def receive(self, events: list[Event]) -> None:
        """Take the events of one read."""
        feed = self._assembler.feed
        self._fault = ""
        for event in events:
            if type(event) is not DataFragment:
                self._control(event)
                continue
            if self.ended is not None:
                continue
            try:
                item = feed(event)
            except MessageError as error:
                self._give_up(str(error))
                continue
            if type(item) is DataSetFragment:
                self._in_message = not item.last
                self._fragment(item.data, last=item.last)
            elif type(item) is CommandReceived:
                self._in_message = item.command.data_set
                self._command(item)
            else:
                self._in_message = True

    def writable(self) -> None:
        """Send what waits."""
        self._outbox.pump()

    def foreign(self, words: str) -> None:
        """Never comes once an association is established."""

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._end(
            ConnectionLost(f"connection to {self.peer} lost{f': {error}' if error else ''}"),
            "connection lost",
        )
        if not self._gone.done():
            self._gone.set_result(None)

    def expire(self, now: float) -> float:
        """Look whether something took too long."""
        if self.ended is not None:
            return inf
        answer_due, answer = self._invoker.due(self.timeouts.dimse)
        if now >= answer_due and not self._connection.paused:
            self._time_out(answer, self.timeouts.dimse)
            return inf
        if now >= self._release.due:
            self._time_out("A-RELEASE-RP", self.timeouts.release)
            return inf
        if now >= self._active + self._quiet and not self.busy:
            self._abort(
                Aborted(f"nothing in progress for {self._quiet:g} s", source=0, reason=0),
                f"aborted by us: nothing in progress for {self._quiet:g} s",
            )
            return inf
        if now >= self._check_due and self._trickles(now):
            floor = f"less than {self.timeouts.progress_bytes} bytes in {self.timeouts.progress:g} s"
            self._give_up(f"in the middle of a message the peer sent {floor}")
            return inf
        quiet = self._active + self._quiet if not self.busy else inf
        return min(
            answer_due if answer_due > now else inf,
            self._release.due,
            quiet,
            self._check_due,
            now + min(self.timeouts.shortest_running(), self._quiet),
        )

    # Messages in

    def _command(self, received: CommandReceived) -> None:
        context_id, command, violations = received
        self._messages += 1
        self._active = self._connection.heard
        self._answering = False
        for violation in violations:
            self._violation(violation)
        context = self.contexts.get(context_id)
        if context is None:
            self._give_up(f"{command.name} in presentation context {context_id}, which was not accepted")
        elif isinstance(command, dimse.Request):
            self._incoming.request(context, command)
        elif isinstance(command, dimse.Response):
            self._answering = self._invoker.answered(context_id, command, self._active)
            if not self._answering:
                message_id = command.message_id_being_responded_to
                self._strange(f"{command.name} to message {message_id}, which nobody waits for")
        elif isinstance(command, dimse.CCancelRq):
            self._incoming.cancel(command.message_id_being_responded_to)

    def _fragment(self, data: memoryview, *, last: bool) -> None:
        if last:
            self._active = self._connection.heard
        if self._answering:
            self._invoker.fragment(data, last=last)
        else:
            self._incoming.fragment(data, last=last)

    # Control

    def _control(self, event: Event) -> None:
        match event:
            case Violation():
                self._violation(event)
                self._fault = event.message
            case ReleaseIndication():
                self._release_indication(event)
            case ReleaseConfirmation():
                if self._release.owed and not self._connection.core.over:
                    self._connection.core.send(ReleaseRp(), self._loop.time())
                self._end(AssociationEnded("the association has been released"), "released by us")
            case AbortIndication():
                self._abort_indication(event)
            case TransportClose():
                self._connection.close()
            case _:
                self._strange(f"{type(event).__name__} in an established association")

    def _release_indication(self, event: ReleaseIndication) -> None:
        self._release.owed = True
        self._release.collided = event.collision
        self.settled()

    def settled(self) -> None:
        """A request has been answered, or everything has been sent: see whether a release can go on."""
        release = self._release
        if self.ended is not None or not (release.asked or release.owed):
            return
        core = self._connection.core
        if self._incoming.busy or self._outbox or core.over:
            return
        if release.asked and not release.sent and not release.owed:
            release.sent = True
            core.send(ReleaseRq(), self._loop.time())
            self._connection.flush()
        if not release.owed or (release.collided and not self.requestor):
            return  # in a collision the requestor answers first, then we (PS3.8 AR-8 to AR-10)
        release.owed = False
        core.send(ReleaseRp(), self._loop.time())
        self._connection.flush()
        if not release.collided:
            self._end(AssociationEnded("the peer has released the association"), "released by the peer")

    def _abort_indication(self, event: AbortIndication) -> None:
        if self._connection.closed_by_peer:
            words = f"{self.peer} closed the connection without a release"
            self._end(ConnectionLost(words), words)
            return
        words = reasons.abort_words(event.source, event.reason)
        how = f"aborted by us: {self._fault} ({words})" if self._fault else f"A-ABORT received: {words}"
        self._end(Aborted(how, source=event.source, reason=event.reason), how)

    def _violation(self, violation: Violation) -> None:
        self._strange(
            violation.message, offset=violation.offset, field=violation.field, section=violation.section
        )

    def _strange(self, words: str, **facts: str | int) -> None:
        self._violations += 1
        if self._violations <= MOST_VIOLATIONS:
            log.warning("peer breaks the protocol", **self.facts(), reason=printable(words), **facts)

    # The end

    def _give_up(self, words: str) -> None:
        """The peer's messages make no sense, or our own cannot be finished: A-ABORT of the service user."""
        self._abort(Aborted(words, source=0, reason=0), f"aborted by us: {words}")

    def _time_out(self, step: str, seconds: float) -> None:
        self._abort(AssociationTimeout(step, seconds), f"aborted by us: no {step} within {seconds:g} s")

    def _broken_off(self, error: Exception) -> None:
        log.error("message broke off", **self.facts(), reason=f"{type(error).__name__}: {error}")
        self._give_up(f"a message could not be sent to its end: {error}")

    def _abort(self, error: AssociationError, how: str) -> None:
        if self.ended is not None:
            return
        source, reason = (error.source, error.reason) if isinstance(error, Aborted) else (0, 0)
        self._end(error, how)
        if not self._connection.closing:
            if not self._connection.core.over:
                self._connection.core.send(Abort(source, reason), self._loop.time())
            self._connection.flush()
            self._connection.close_within(self.timeouts.linger)

    def _end(self, error: AssociationError, how: str) -> None:
        if self.ended is not None:
            return
        self.ended = error
        self._outbox.close(error)
        self._invoker.close(error)
        self._incoming.close(how)
        log.info(
            "association ended",
            **self.facts(),
            how=printable(how),
            performed=dict(self.performed),
            invoked=dict(self.invoked),
            bytes_received=self.bytes_received,
            bytes_sent=self.bytes_sent,
            seconds=round(self._loop.time() - self.began, 3),
        )
        self._closed(self)

    def _trickles(self, now: float) -> bool:
        """Whether the message that was in the middle at the last look has got below the floor since."""
        before = self._checked
        connection = self._connection
        self._check_due = now + self.timeouts.progress
        self._checked = None
        if not self._in_message or connection.paused:
            return False
        self._checked = (self._messages, connection.pauses, connection.bytes_received)
        if before is None or before[:2] != self._checked[:2]:
            return False
        return connection.bytes_received - before[2] < self.timeouts.progress_bytes

    def facts(self) -> dict[str, str]:
        return {
            "association": self.id,
            "peer": self.peer,
            "calling_ae_title": printable(self.calling_ae_title),
            "called_ae_title": printable(self.called_ae_title),
        }

    def _require_open(self) -> None:
        if self.ended is not None:
            raise self.ended

    def _require_context(self, context_id: int) -> None:
        self._require_open()
        if context_id not in self.contexts:
            raise LocalProtocolError(f"presentation context {context_id} was not accepted")
