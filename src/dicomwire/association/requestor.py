"""The calling side: connect, negotiate, use, release (PS3.8 7.1, 9.1.4)."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf

import structlog

from dicomwire.association.agreement import Agreement, implementation
from dicomwire.association.association import Association
from dicomwire.association.connection import Connection, receive_buffer
from dicomwire.association.options import RequestorOptions
from dicomwire.association.performer import Performer, Services
from dicomwire.association.recorder import Recorder
from dicomwire.association.tls import Stream
from dicomwire.association.words import printable
from dicomwire.errors import (
    Aborted,
    AssociationError,
    AssociationTimeout,
    ConnectionFailed,
    ConnectionLost,
    ConnectionRefused,
    LocalProtocolError,
    NoAcceptedContext,
    Rejected,
    TLSFailed,
)
from dicomwire.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomwire.upper_layer import reasons
from dicomwire.upper_layer.events import (
    AbortIndication,
    AssociateConfirmation,
    Event,
    TransportClose,
    Violation,
)
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    ProposedContext,
    UserItem,
)
from dicomwire.upper_layer.negotiation import accepted
from dicomwire.upper_layer.pdu import Abort, AssociateAc, AssociateRj, AssociateRq
from dicomwire.upper_layer.protocol import Policy, Role, TraceStep, UpperLayer

__all__ = ["MOST_CONTEXTS", "Context", "RequestorOptions", "connect", "plan", "request_association"]

DEFAULTS = RequestorOptions()
MOST_CONTEXTS = 128  # odd presentation context IDs from 1 to 255 (PS3.8 9.3.2.2)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context to propose.

    Attributes:
        abstract_syntax: UID of a SOP class.
        transfer_syntaxes: UIDs in the order of preference; the peer accepts one.
    """

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


def plan(contexts: Sequence[Context]) -> list[tuple[Context, ...]]:
    """Spread contexts over as few associations as can hold them, in their order."""
    return [
        tuple(contexts[start : start + MOST_CONTEXTS]) for start in range(0, len(contexts), MOST_CONTEXTS)
    ]


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    called_ae_title: str,
    calling_ae_title: str = "DICOMWIRE",
    contexts: Iterable[Context],
    services: Services | None = None,
    options: RequestorOptions = DEFAULTS,
    trace: Callable[[TraceStep], None] | None = None,
    buffer: memoryview | None = None,
    recorder: Recorder | None = None,
) -> AsyncIterator[Association]:
    """Open an association for the length of an `async with`: released behind it, aborted when it raises.

    Arguments and exceptions are those of `request_association`.
    """
    association = await request_association(
        host,
        port,
        called_ae_title=called_ae_title,
        calling_ae_title=calling_ae_title,
        contexts=contexts,
        services=services,
        options=options,
        trace=trace,
        buffer=buffer,
        recorder=recorder,
    )
    try:
        yield association
    except BaseException as error:
        association.abort(why=f"{type(error).__name__} in the requestor")
        await association.wait_closed()
        raise
    # All that was asked for has been answered: how a peer takes the release is for the log, not for the
    # caller.
    with suppress(AssociationError):
        await association.release()


async def request_association(
    host: str,
    port: int,
    *,
    called_ae_title: str,
    calling_ae_title: str = "DICOMWIRE",
    contexts: Iterable[Context],
    services: Services | None = None,
    options: RequestorOptions = DEFAULTS,
    trace: Callable[[TraceStep], None] | None = None,
    buffer: memoryview | None = None,
    recorder: Recorder | None = None,
) -> Association:
    """Request an association; whoever asked for it releases it.

    Args:
        contexts: at most 128 (`plan` spreads more over several associations); the first gets ID 1, the next
            3.
        services: for what the peer invokes: C-STORE sub-operations of a C-GET, N-EVENT-REPORT.
        trace: takes the steps of the state machine.
        buffer: to receive into, shared with other connections of this loop; None for an own one.
        recorder: keeps what goes over the connection.

    Returns: an association with at least one accepted context.
    Raises: ConnectionRefused, TLSFailed or ConnectionFailed, when there is no connection; Rejected or
        NoAcceptedContext, when the peer does not want it; Aborted or ConnectionLost, when it ends the
        attempt; AssociationTimeout, when something takes too long; LocalProtocolError, when the proposal
        cannot be.
    """
    request = _request(called_ae_title, calling_ae_title, contexts, options)
    policy = Policy(
        artim=options.timeouts.artim, pdu_limit=options.maximum_pdu, maximum_length=options.maximum_length
    )
    core = UpperLayer(Role.REQUESTOR, policy, trace=trace)
    loop = asyncio.get_running_loop()
    core.send(request, loop.time())
    stream = None
    if options.tls is not None:
        stream = Stream(options.tls, server_side=False, server_hostname=options.server_hostname or host)
    connection = Connection(
        core,
        timeouts=options.timeouts,
        buffer=receive_buffer() if buffer is None else buffer,
        tls=stream,
        recorder=recorder,
    )
    opening = Opening(connection, request, services or {}, options)
    connection.user = opening
    await _open(connection, host, port, options.timeouts.connect)
    return await opening.wait()


def _request(
    called_ae_title: str, calling_ae_title: str, contexts: Iterable[Context], options: RequestorOptions
) -> AssociateRq:
    proposed = tuple(
        ProposedContext(2 * index + 1, context.abstract_syntax, tuple(context.transfer_syntaxes))
        for index, context in enumerate(contexts)
    )
    if not 1 <= len(proposed) <= MOST_CONTEXTS:
        raise LocalProtocolError(f"an association has 1 to {MOST_CONTEXTS} contexts, not {len(proposed)}")
    items: list[UserItem] = [
        MaximumLength(options.maximum_length),
        ImplementationClassUID(IMPLEMENTATION_CLASS_UID),
    ]
    if options.window is not None:
        items.append(AsynchronousOperationsWindow(*options.window))
    items.extend(options.roles)
    items.append(ImplementationVersionName(IMPLEMENTATION_VERSION_NAME))
    items.extend(options.extended)
    if options.identity is not None:
        items.append(options.identity)
    return AssociateRq(called_ae_title, calling_ae_title, proposed, tuple(items))


async def _open(connection: Connection, host: str, port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(seconds):
            await loop.create_connection(lambda: connection, host, port)
    except TimeoutError:
        raise AssociationTimeout(f"connection to {where}", seconds) from None
    except socket.gaierror as error:
        raise ConnectionFailed(f"host name {host!r} cannot be resolved: {error.strerror}") from error
    except OSError as error:
        # Several addresses give one OSError without a number, with each one's words in its text.
        refused = isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error)
        if refused:
            raise ConnectionRefused(f"{where} refuses connections: nobody listens there") from error
        raise ConnectionFailed(f"no connection to {where}: {error.strerror or error}") from error


class Opening:
    """A connection of ours until the peer has answered the A-ASSOCIATE-RQ."""

    def __init__(
        self, connection: Connection, request: AssociateRq, services: Services, options: RequestorOptions
    ) -> None:
        self.id = secrets.token_hex(6)
        self._connection = connection
        self._request = request
        self._services = services
        self._options = options
        self._answer: asyncio.Future[Association] = asyncio.get_running_loop().create_future()
        self._violations: list[str] = []

    async def wait(self) -> Association:
        """Wait for the answer, TLS handshake included."""
        timeouts = self._options.timeouts
        seconds = timeouts.artim + (timeouts.tls if self._options.tls is not None else 0)
        try:
            async with asyncio.timeout(seconds):
                return await self._answer
        except TimeoutError:
            late = AssociationTimeout("A-ASSOCIATE-AC or A-ASSOCIATE-RJ", seconds)
            self._log_failure(late)
            self._give_up()
            raise late from None
        except asyncio.CancelledError:
            self._give_up()
            raise

    # From the connection

    def receive(self, events: list[Event]) -> None:
        """Take events up to the association's first."""
        for index, event in enumerate(events):
            if self._connection.user is not self:
                self._connection.user.receive(events[index:])
                return
            match event:
                case AssociateConfirmation(answer=AssociateAc() as answer):
                    self._accepted(answer)
                case AssociateConfirmation(answer=AssociateRj() as answer):
                    self._fail(_rejection(answer))
                case AbortIndication():
                    self._aborted(event)
                case Violation():
                    self._violations.append(event.message)
                case TransportClose():
                    self._connection.close()
                case _:
                    raise LocalProtocolError(f"{type(event).__name__} before the association")

    def writable(self) -> None:
        """Nothing waits."""

    def expire(self, now: float) -> float:
        """The deadlines before an association are the connection's own and ARTIM."""
        return inf

    def foreign(self, words: str) -> None:
        """The TLS handshake failed."""
        self._fail(TLSFailed(words))

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._fail(
            ConnectionLost(
                self._with_violations(
                    f"the peer closed the connection without an answer{f': {error}' if error else ''}"
                )
            )
        )

    # The answer

    def _accepted(self, answer: AssociateAc) -> None:
        agreed = accepted(self._request, answer)
        refused = tuple(outcome.words for outcome in agreed.outcomes if not outcome.accepted)
        if not agreed.contexts:
            words = f"the peer accepts no presentation context: {'; '.join(refused)}"
            self._fail(NoAcceptedContext(words, refused))
            self._give_up()
            return
        agreement = Agreement(
            called_ae_title=self._request.called_ae_title,
            calling_ae_title=self._request.calling_ae_title,
            contexts=agreed.contexts,
            maximum_length=agreed.maximum_length_to_send,
            invoke=agreed.window.invoked,
            perform=agreed.window.performed,
            implementation=implementation(answer.user_information),
            refused=refused,
            extended_negotiation=agreed.extended_negotiation,
            user_identity=agreed.user_identity,
        )
        association = Association(
            self._connection,
            agreement,
            partial(
                Performer,
                services=self._services,
                window=agreed.window.performed,
                limits=self._options.limits,
            ),
            id=self.id,
            requestor=True,
            timeouts=self._options.timeouts,
            limits=self._options.limits,
        )
        self._connection.user = association
        log.info("association accepted", **association.facts(), **agreement.described())
        for words in (*self._violations, *agreed.violations):
            log.warning("peer breaks the protocol", **association.facts(), reason=printable(words))
        if self._answer.done():
            association.abort(why="nobody waits for it any more")
        else:
            self._answer.set_result(association)

    def _aborted(self, event: AbortIndication) -> None:
        if self._connection.closed_by_peer:
            self.lost(None)
            return
        words = self._with_violations(reasons.abort_words(event.source, event.reason))
        self._fail(Aborted(words, source=event.source, reason=event.reason))

    def _with_violations(self, words: str) -> str:
        return "; ".join((words, *self._violations))

    def _fail(self, error: AssociationError) -> None:
        if self._answer.done():
            return
        self._answer.set_exception(error)
        self._log_failure(error)

    def _log_failure(self, error: AssociationError) -> None:
        log.info(
            "association failed",
            association=self.id,
            peer=self._connection.peer,
            calling_ae_title=printable(self._request.calling_ae_title),
            called_ae_title=printable(self._request.called_ae_title),
            reason=printable(str(error)),
        )

    def _give_up(self) -> None:
        connection = self._connection
        if not connection.closing:
            with suppress(LocalProtocolError):
                connection.core.send(Abort(), asyncio.get_running_loop().time())
        connection.close()


def _rejection(answer: AssociateRj) -> AssociationError:
    words = reasons.reject_words(answer.result, answer.source, answer.reason)
    if (answer.result, answer.source, answer.reason) == (1, 1, 1):
        # What this node answers, too, when it accepts none of the contexts.
        return NoAcceptedContext(f"{words}; many nodes say this when they accept no presentation context")
    return Rejected(words, result=answer.result, source=answer.source, reason=answer.reason)
