"""The Upper Layer protocol machine: bytes and time in; events, bytes and a deadline out (PS3.8 9).

No loop, no socket, no clock. What a peer sends never raises: an illegal event is answered as Table 9-10 says
and reported as a `Violation`. P-DATA passes through as views into the caller's buffer.

Decided here, beyond the standard:
- A PDU that is refused is skipped by its PDU-length, so that what follows is still read in step.
- P-DATA above our announced maximum length is streamed like any other and needs no memory of ours; peers that
  do not heed item 51H exist: a `Violation` once an association, no abort.
- A P-DATA-TF without any value is a `Violation`, no abort.
- In Sta13 a peer that goes on sending refused PDUs gets one A-ABORT (AA-7), and what follows is discarded in
  silence; a `Violation` tells of it only where none told why before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from dicomwire.errors import DecodeError, LocalProtocolError
from dicomwire.upper_layer.codec import VALUE, PduError, decode, encode
from dicomwire.upper_layer.events import (
    AbortIndication,
    AssociateConfirmation,
    AssociateIndication,
    DataFragment,
    Event,
    ReleaseConfirmation,
    ReleaseIndication,
    TransportClose,
    Violation,
)
from dicomwire.upper_layer.framing import Framing
from dicomwire.upper_layer.items import MaximumLength, UserItem
from dicomwire.upper_layer.pdu import (
    HEADER_LENGTH,
    PDU_NAMES,
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    Buffer,
    PData,
    Pdu,
    PduType,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)
from dicomwire.upper_layer.reasons import AbortReason, AbortSource, AcseReason, RejectResult, RejectSource
from dicomwire.upper_layer.tables import (
    ACTIONS,
    EVENT_WORDS,
    STATE_WORDS,
    TRANSITIONS,
    Action,
    Effect,
    Evt,
    State,
)

__all__ = [
    "AbortIndication",
    "AssociateConfirmation",
    "AssociateIndication",
    "DataFragment",
    "Event",
    "Policy",
    "ReleaseConfirmation",
    "ReleaseIndication",
    "Role",
    "State",
    "TraceStep",
    "TransportClose",
    "UpperLayer",
    "Violation",
]

ABORT_ANSWERS: Final = 1  # A-ABORT PDUs for a peer that sends on after the end: it must not fill our memory
NO_LIMIT: Final = 1 << 32  # one more than a PDU-length can say

_VALUE_HEADER: Final = VALUE.size  # bytes
_P_DATA_TF: Final = int(PduType.P_DATA_TF)

# Names of members that the hot path needs: to look one up in its class costs 70 ns.
_P_DATA_REQUEST: Final = Evt.P_DATA_REQUEST
_P_DATA_RECEIVED: Final = Evt.P_DATA_RECEIVED
_SEND: Final = Effect.SEND
_INDICATE: Final = Effect.INDICATE
_UNEXPECTED_PDU: Final = AbortReason.UNEXPECTED_PDU
_STA1: Final = State.STA1
_STA4: Final = State.STA4

_PDU_AND_VALUE: Final = struct.Struct(">BxIIBB")  # header of a PDU and of its only value

_EVENTS: Final[dict[type[Pdu], Evt]] = {
    AssociateRq: Evt.ASSOCIATE_RQ_RECEIVED,
    AssociateAc: Evt.ASSOCIATE_AC_RECEIVED,
    AssociateRj: Evt.ASSOCIATE_RJ_RECEIVED,
    ReleaseRq: Evt.RELEASE_RQ_RECEIVED,
    ReleaseRp: Evt.RELEASE_RP_RECEIVED,
    Abort: Evt.ABORT_RECEIVED,
}
_REQUESTS: Final[dict[type[Pdu], Evt]] = {
    AssociateRq: Evt.ASSOCIATE_REQUEST,
    AssociateAc: Evt.ASSOCIATE_RESPONSE_ACCEPT,
    AssociateRj: Evt.ASSOCIATE_RESPONSE_REJECT,
    PData: Evt.P_DATA_REQUEST,
    ReleaseRq: Evt.RELEASE_REQUEST,
    ReleaseRp: Evt.RELEASE_RESPONSE,
    Abort: Evt.ABORT_REQUEST,
}
_PDU_TYPES: Final = {
    Evt.ASSOCIATE_RQ_RECEIVED: PduType.A_ASSOCIATE_RQ,
    Evt.ASSOCIATE_AC_RECEIVED: PduType.A_ASSOCIATE_AC,
    Evt.ASSOCIATE_RJ_RECEIVED: PduType.A_ASSOCIATE_RJ,
    Evt.P_DATA_RECEIVED: PduType.P_DATA_TF,
    Evt.RELEASE_RQ_RECEIVED: PduType.A_RELEASE_RQ,
    Evt.RELEASE_RP_RECEIVED: PduType.A_RELEASE_RP,
    Evt.ABORT_RECEIVED: PduType.A_ABORT,
}
# The cell and its action's row in one, for the hot path.
_CELLS: Final = tuple(
    tuple(None if action is None else (action, *ACTIONS[action]) for action in row) for row in TRANSITIONS
)
_REFUSALS: Final = frozenset({Action.AA_1, Action.AA_7, Action.AA_8})
_DATA_STATES: Final = frozenset({State.STA6, State.STA7})
_VERSION_NOT_SUPPORTED: Final = AssociateRj(
    RejectResult.REJECTED_PERMANENT,
    RejectSource.SERVICE_PROVIDER_ACSE,
    AcseReason.PROTOCOL_VERSION_NOT_SUPPORTED,
)


Decode: TypeAlias = Callable[[int, memoryview, list[DecodeError]], Pdu]


class Role(IntEnum):
    """Who opened the association."""

    REQUESTOR = 0
    ACCEPTOR = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one connection.

    Attributes:
        artim: seconds that a peer has for its whole A-ASSOCIATE-RQ, and for closing after the end.
        pdu_limit: bytes of the longest variable field of a PDU other than P-DATA-TF.
        maximum_length: bytes of a P-DATA-TF variable field that we announce, 0 = no limit; where what is sent
            has an item 51H, that one counts.
    """

    artim: float = 30.0
    pdu_limit: int = 1 << 20
    maximum_length: int = 262_144


class TraceStep(NamedTuple):
    """One step of the state machine.

    Attributes:
        event: row of Table 9-10.
        state: the state it met.
        action: the cell.
        next: the state it led to.
        now: the caller's time.
        offset: bytes read so far, with those of the PDU (of a P-DATA-TF its header).
        pdu: sent or received, None where it is none, P-DATA-TF, or could not be read.
    """

    event: Evt
    state: State
    action: Action
    next: State
    now: float
    offset: int
    pdu: Pdu | None


class UpperLayer:
    """One end of one transport connection.

    Attributes:
        role: who opened the association.
        state: where in Table 9-10 we are.
        deadline: when to call `expire`, in the caller's time; None while ARTIM is stopped.
        transport_close: the transport must be closed once `outgoing()` is written, as the event
            `TransportClose` says, too, where a call returns events.
    """

    def __init__(
        self,
        role: Role,
        policy: Policy = Policy(),
        *,
        trace: Callable[[TraceStep], None] | None = None,
        read: Decode = decode,
    ) -> None:
        """Begin in Sta1.

        Args:
            trace: takes each step.
            read: `codec.decode`, or what gives the same with less work.
        """
        self.role = role
        self.state = State.STA1
        self.deadline: float | None = None
        self.transport_close = False
        self._policy = policy
        self._trace = trace
        self._read = read
        self._outgoing: list[Buffer] = []
        self._request = b""  # the A-ASSOCIATE-RQ, until the transport is there
        self._send_limit = NO_LIMIT  # of the variable field of what we send
        self._receive_limit = policy.maximum_length or NO_LIMIT
        self._aborts = 0  # answers given by AA-7
        self._refused = False  # a violation has told why the association, or what came after it, was refused
        self._framing = Framing(policy.pdu_limit)

    def connected(self, now: float) -> None:
        """The transport connection is there: Evt5 of an acceptor; Evt2 of a requestor, its request goes out.

        Raises: LocalProtocolError, when a requestor has no A-ASSOCIATE-RQ given to `send`, or twice.
        """
        if self.role is Role.ACCEPTOR:
            self._local(Evt.TRANSPORT_INDICATION, now, b"", None)
        else:
            self._local(Evt.TRANSPORT_CONFIRMATION, now, self._request, None)

    @property
    def over(self) -> bool:
        """Nothing can be sent any more; what came right behind an event may have ended the association."""
        return self.state is State.STA13 or self.state is State.STA1

    def send(
        self,
        primitive: AssociateRq | AssociateAc | AssociateRj | PData | ReleaseRq | ReleaseRp | Abort,
        now: float,
        *,
        encoded: bytes | None = None,
    ) -> None:
        """A request or response primitive of the local user.

        An A-ASSOCIATE-RQ waits for `connected`. An A-ABORT of the service-user has reason 0, always.

        Args:
            encoded: the PDU's bytes, where the caller has them already.

        Raises: LocalProtocolError, when the state forbids it (a blank cell of Table 9-10) or a value does not
            fit its field.
        """
        if isinstance(primitive, Abort) and primitive.source == AbortSource.SERVICE_USER:
            primitive = Abort(AbortSource.SERVICE_USER, AbortReason.REASON_NOT_SPECIFIED)
        evt = _REQUESTS[type(primitive)]
        if evt is Evt.ASSOCIATE_REQUEST and self.role is Role.ACCEPTOR:
            raise LocalProtocolError("an acceptor cannot request an association (A-ASSOCIATE request)")
        if TRANSITIONS[evt][self.state] is None:
            raise self._forbidden(evt)
        data = encode(primitive) if encoded is None else encoded
        if isinstance(primitive, PData) and len(data) - HEADER_LENGTH > self._send_limit:
            raise self._too_long(len(data) - HEADER_LENGTH)
        if isinstance(primitive, AssociateRq | AssociateAc):
            announced = _maximum_length(primitive.user_information)
            if announced is not None:
                self._receive_limit = announced or NO_LIMIT
        if isinstance(primitive, AssociateRq):
            self._request = data
        self._local(evt, now, data, primitive)

    def send_value(self, value: PresentationDataValue, now: float) -> None:
        """A P-DATA request with one value, which is not copied: its buffer must live until it is written.

        Raises: LocalProtocolError, when the state forbids it or the PDU is longer than the peer takes.
        """
        context, control, data = value.presentation_context_id, value.control, value.data
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        length = size + _VALUE_HEADER
        if length > self._send_limit:
            raise self._too_long(length)
        header = _PDU_AND_VALUE.pack(_P_DATA_TF, length, size + 2, context, control)
        self._local(_P_DATA_REQUEST, now, header, None)
        if size:
            self._outgoing.append(data)

    def send_values(self, context: int, control: int, data: memoryview, length: int, now: float) -> None:
        """P-DATA requests with one value each, equal but for the data: as often `send_value`, much cheaper.

        Args:
            context, control: of each value.
            data: of all values, one behind the other; not copied.
            length: bytes of each value.

        Raises: LocalProtocolError as `send_value`.
        """
        if self._trace is not None:
            for at in range(0, len(data), length):
                self.send_value(PresentationDataValue(context, control, data[at : at + length]), now)
            return
        if length + _VALUE_HEADER > self._send_limit:
            raise self._too_long(length + _VALUE_HEADER)
        header = _PDU_AND_VALUE.pack(_P_DATA_TF, length + _VALUE_HEADER, length + 2, context, control)
        # One step for all: a P-DATA request leaves the state as it is (DT-1, AR-7).
        self._local(_P_DATA_REQUEST, now, header, None)
        outgoing = self._outgoing
        outgoing.append(data[:length])
        for at in range(length, len(data), length):
            outgoing += (header, data[at : at + length])

    def outgoing(self) -> list[Buffer]:
        """Takes what is to be written, in order."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
        return outgoing

    def receive(self, data: Buffer, now: float) -> list[Event]:
        """Bytes from the peer, cut anywhere.

        Args:
            data: the bytes; views into them are valid until they are reused.
            now: the caller's time.

        Returns: what happened, in order. After the end of the association bytes are ignored.
        """
        events: list[Event] = []
        if self.state is _STA1:
            return events
        if self.state is _STA4:
            raise LocalProtocolError("received before the transport connection was confirmed (connected)")
        if self.state not in _DATA_STATES:
            self._framing.drop_p_data()  # aborted by ourselves within a PDU
        self._framing.read(memoryview(data), self, now, events)
        return events

    def closed(self, now: float) -> list[Event]:
        """The transport connection is closed, by whomever: Evt17."""
        events: list[Event] = []
        if self.state is not State.STA1:
            self._remote(
                Evt.TRANSPORT_CLOSED, now, events, AbortIndication(AbortSource.SERVICE_PROVIDER, 0, True)
            )
        return events

    def expire(self, now: float) -> list[Event]:
        """The deadline may have passed: Evt18 if it has."""
        events: list[Event] = []
        if self.deadline is not None and now >= self.deadline:
            self._remote(Evt.ARTIM_EXPIRED, now, events, None)
        return events

    # -- local events

    def _forbidden(self, evt: Evt) -> LocalProtocolError:
        state = f"Sta{int(self.state)} ({STATE_WORDS[self.state]})"
        what = f"{EVENT_WORDS[evt]} is not allowed in {state}"
        return LocalProtocolError(f"{what} (PS3.8 Table 9-10, Evt{int(evt)})")

    def _too_long(self, length: int) -> LocalProtocolError:
        what = f"P-DATA-TF of {length} bytes is longer than the {self._send_limit} that the peer takes"
        return LocalProtocolError(f"{what} (PS3.8 D.1)")

    def _local(self, evt: Evt, now: float, data: bytes, pdu: Pdu | None) -> None:
        """A step that the local user or transport asked for; `data` is what its action sends."""
        cell = _CELLS[evt][self.state]
        if cell is None:
            raise self._forbidden(evt)
        action, state, effects, _, _ = cell
        for effect in effects:
            if effect is _SEND:
                self._outgoing.append(data)
            elif effect is Effect.START:
                self.deadline = now + self._policy.artim
            elif effect is Effect.STOP:
                self.deadline = None
            elif effect is Effect.CLOSE:
                self.transport_close = True
        self.state, state = state, self.state
        if self._trace is not None:
            self._trace(TraceStep(evt, state, action, self.state, now, self._framing.offset, pdu))

    # -- events from the peer, the transport and the timer

    def _remote(
        self,
        evt: Evt,
        now: float,
        events: list[Event],
        indication: Event | None,
        *,
        reason: AbortReason = _UNEXPECTED_PDU,
        reject: AssociateRj | None = None,
        pdu: Pdu | None = None,
    ) -> None:
        """A step that somebody else caused.

        Args:
            evt: one that can occur in this state.
            now: the caller's time.
            events: takes what is to be indicated.
            indication: what the action indicates; AA-8 has its own, the A-P-ABORT.
            reason: why, should the action be to send an A-ABORT.
            reject: makes AE-6 send this instead.
            pdu: for the trace.
        """
        state = self.state
        cell = _CELLS[evt][state]
        if cell is None:
            raise AssertionError(f"Evt{int(evt)} cannot occur in Sta{int(state)}")
        action, self.state, effects, other, other_effects = cell
        if other is not None and (
            reject is not None or (action is Action.AR_8 and self.role is Role.ACCEPTOR)
        ):
            self.state, effects = other, other_effects
        for effect in effects:
            if effect is _INDICATE:
                if indication is not None:
                    events.append(indication)
            elif effect is _SEND:
                self._answer(action, reason, reject)
                if action is Action.AA_8:
                    indication = AbortIndication(AbortSource.SERVICE_PROVIDER, reason, True)
            elif effect is Effect.START:
                self.deadline = now + self._policy.artim
            elif effect is Effect.STOP:
                self.deadline = None
            elif effect is Effect.CLOSE:
                self.transport_close = True
                events.append(TransportClose())
        if self._trace is not None:
            self._trace(TraceStep(evt, state, action, self.state, now, self._framing.offset, pdu))

    def _answer(self, action: Action, reason: AbortReason, reject: AssociateRj | None) -> None:
        """The PDU that AE-6, AA-1, AA-7 or AA-8 sends by itself."""
        if reject is not None:
            self._outgoing.append(encode(reject))
        elif action is Action.AA_1:
            self._outgoing.append(encode(Abort(AbortSource.SERVICE_USER, AbortReason.REASON_NOT_SPECIFIED)))
        elif action is Action.AA_8 or self._aborts < ABORT_ANSWERS:
            self._aborts += action is Action.AA_7
            self._outgoing.append(encode(Abort(AbortSource.SERVICE_PROVIDER, reason)))

    def _violation(self, error: DecodeError, events: list[Event]) -> None:
        offset = self._framing.pdu_start + error.offset
        events.append(Violation(str(error), offset, error.field, error.section))

    def _refusal(self, error: DecodeError, events: list[Event]) -> None:
        """A violation that ends the association, or came after its end."""
        if self.state is not State.STA13 or not self._refused:
            self._refused = True
            self._violation(error, events)

    def _unexpected(self, evt: Evt, events: list[Event]) -> None:
        """Reports a PDU that the state does not allow."""
        if TRANSITIONS[evt][self.state] in _REFUSALS:
            name = PDU_NAMES[_PDU_TYPES[evt]]
            what = f"not expected in Sta{int(self.state)} ({STATE_WORDS[self.state]})"
            self._refusal(PduError(name, what, 0, field="PDU-type", section="PS3.8 Table 9-10"), events)

    # -- what Framing finds

    def p_data(self, length: int, now: float, events: list[Event]) -> bool:
        """The header of a P-DATA-TF PDU: a step at once, its values as they come."""
        wanted = self.state in _DATA_STATES
        if not wanted:
            self._unexpected(Evt.P_DATA_RECEIVED, events)
        elif length > self._receive_limit:
            what = f"PDU-length says {length} bytes, we announced at most {self._receive_limit}"
            self._tolerate(what, "PS3.8 D.1", events)
            self._receive_limit = NO_LIMIT  # reported once
        elif not length:
            self._tolerate("no presentation-data-value item, at least one is required", "PS3.8 9.3.5", events)
        self._remote(_P_DATA_RECEIVED, now, events, None)
        return wanted

    def _tolerate(self, what: str, section: str, events: list[Event]) -> None:
        name = PDU_NAMES[PduType.P_DATA_TF]
        self._violation(PduError(name, what, 2, field="PDU-length", section=section), events)

    def invalid_pdu(self, error: PduError, reason: AbortReason, now: float, events: list[Event]) -> None:
        """Evt19."""
        self._refusal(error, events)
        self._remote(Evt.INVALID_PDU, now, events, None, reason=reason)

    def whole_pdu(self, pdu_type: int, body: memoryview, now: float, events: list[Event]) -> bool:
        """A PDU other than P-DATA-TF; the answer is whether more may follow."""
        tolerated: list[DecodeError] = []
        try:
            pdu = self._read(pdu_type, body, tolerated)
        except PduError as error:
            self.invalid_pdu(error, AbortReason.INVALID_PDU_PARAMETER_VALUE, now, events)
            return True
        if self.state is not State.STA13:
            for fault in tolerated:
                self._violation(fault, events)
        evt = _EVENTS[type(pdu)]
        self._unexpected(evt, events)
        reject = None
        indication: Event
        match pdu:
            case AssociateRq():
                indication = AssociateIndication(pdu, bytes(body))
                self._limit(pdu.user_information)
                if self.state is State.STA2 and not pdu.protocol_version & 1:
                    reject = _VERSION_NOT_SUPPORTED
                    what = f"Protocol-version is {pdu.protocol_version:04X}H, bit 0 must be set"
                    fault = PduError(
                        "A-ASSOCIATE-RQ", what, 6, field="Protocol-version", section="PS3.8 Table 9-11"
                    )
                    self._violation(fault, events)
            case AssociateAc():
                indication = AssociateConfirmation(pdu)
                self._limit(pdu.user_information)
            case AssociateRj():
                indication = AssociateConfirmation(pdu)
            case ReleaseRq():
                indication = ReleaseIndication(collision=self.state is State.STA7)
            case ReleaseRp():
                indication = ReleaseConfirmation()
            case Abort():
                provider = pdu.source != AbortSource.SERVICE_USER
                indication = AbortIndication(pdu.source, pdu.reason, provider)
            case PData():
                raise AssertionError("P-DATA-TF is not collected")
        self._remote(evt, now, events, indication, reject=reject, pdu=pdu)
        return self.state is not State.STA1

    def _limit(self, user_information: tuple[UserItem, ...]) -> None:
        """Takes the peer's maximum length; one that is too small for a value of two bytes counts as that."""
        self._send_limit = max(_maximum_length(user_information) or NO_LIMIT, _VALUE_HEADER + 2)


def _maximum_length(user_information: tuple[UserItem, ...]) -> int | None:
    """What item 51H says, None where there is none."""
    for item in user_information:
        if isinstance(item, MaximumLength):
            return item.maximum_length
    return None
