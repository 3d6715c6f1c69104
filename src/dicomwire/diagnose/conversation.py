"""What two sides said to each other on one connection, read passively (PS3.8 9; PS3.7).

Facts, no judgement: rules judge. The same conversation is made of a capture's packets, of a recorded trace
and of what a proxy taps: `hear` takes bytes from anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dicomwire.diagnose import data_set
from dicomwire.diagnose.connection import Connection
from dicomwire.diagnose.ear import Ear
from dicomwire.diagnose.exchange import Exchange, Exchanges
from dicomwire.diagnose.facts import EventLog, Fault, Sent
from dicomwire.diagnose.finding import Event, Party, Side, escaped
from dicomwire.diagnose.quirks import product_of
from dicomwire.diagnose.stream import DataSetHead, Place
from dicomwire.dimse import status
from dicomwire.dimse.command import CMoveRq, Command, CStoreRq, Response
from dicomwire.errors import DecodeError
from dicomwire.protocols import Protocol
from dicomwire.uids import name_of
from dicomwire.upper_layer.acceptance import Accepted, accepted
from dicomwire.upper_layer.contexts import user_item
from dicomwire.upper_layer.events import Violation
from dicomwire.upper_layer.items import (
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    UserIdentityRq,
)
from dicomwire.upper_layer.pdu import (
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    Pdu,
    ReleaseRp,
    ReleaseRq,
)
from dicomwire.upper_layer.reasons import abort_words, reject_words

NO_LIMIT: Final = 1 << 32  # one more than a PDU-length can say
MATCHES_SHOWN: Final = 5  # pending responses of one request that make events
FAULTS: Final = 64  # kept of one conversation


@dataclass(slots=True, eq=False)
class Conversation:
    """One connection and the association on it, if there is one.

    Attributes:
        connection: its TCP facts.
        unmask: patients' values and credentials are shown.
        request, answer: of the association.
        aborts, releases: PDUs in the order in which they were sent.
        negotiated: what the answer allows.
        exchanges: DIMSE requests and responses.
        faults: what in the bytes cannot be.
        last_said: place of the last PDU of either side, or of a message's last byte.
        too_long: the first P-DATA-TF of each side that is longer than the other takes, and that limit.
        unknown_contexts: first use of presentation contexts that were not accepted.
        notes: what a recorded trace says beside the bytes.
        capture: what is known of the capture as a whole; set before rules are asked.
        related: conversations that belong to this one.
        tolerated: what in the bytes should not be, and many peers put up with; the last of it.
    """

    connection: Connection
    unmask: bool = False
    request: Sent[AssociateRq] | None = None
    answer: Sent[AssociateAc] | Sent[AssociateRj] | None = None
    aborts: list[Sent[Abort]] = field(default_factory=list)
    releases: list[Sent[ReleaseRq | ReleaseRp]] = field(default_factory=list)
    negotiated: Accepted | None = None
    exchanges: Exchanges = field(default_factory=Exchanges)
    faults: list[Fault] = field(default_factory=list)
    last_said: Place | None = None
    too_long: dict[Side, tuple[int, int, Place]] = field(default_factory=dict)
    unknown_contexts: dict[tuple[Side, int], Place] = field(default_factory=dict)
    events: EventLog = field(default_factory=EventLog)
    notes: list[Event] = field(default_factory=list)
    capture: CaptureFacts | None = None
    related: list[Conversation] = field(default_factory=list)
    tolerated: deque[Fault] = field(default_factory=lambda: deque(maxlen=FAULTS))
    requestor_ear: Ear = field(init=False)
    acceptor_ear: Ear = field(init=False)
    _limits: dict[Side, int] = field(default_factory=dict)  # bytes of a P-DATA-TF that each side may send
    _asking: dict[Side, Exchange | None] = field(default_factory=dict)
    _answering: dict[Side, Exchange | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.requestor_ear, self.acceptor_ear = (
            Ear(side, self, self.connection) for side in (Side.REQUESTOR, Side.ACCEPTOR)
        )
        self.connection.requestor.sink = self.requestor_ear
        self.connection.acceptor.sink = self.acceptor_ear

    # -- what it is

    @property
    def ears(self) -> tuple[Ear, Ear]:
        return self.requestor_ear, self.acceptor_ear

    def ear(self, side: Side) -> Ear:
        return self.requestor_ear if side is Side.REQUESTOR else self.acceptor_ear

    @property
    def speaks_dicom(self) -> bool:
        """A PDU was read from either side."""
        return any(ear.stream is not None and (ear.stream.found or ear.stream.in_step) for ear in self.ears)

    @property
    def association_request(self) -> AssociateRq | None:
        return self.request.pdu if self.request else None

    @property
    def accepted(self) -> AssociateAc | None:
        return self.answer.pdu if self.answer and isinstance(self.answer.pdu, AssociateAc) else None

    @property
    def rejected(self) -> Sent[AssociateRj] | None:
        answer = self.answer
        if answer is not None and isinstance(answer.pdu, AssociateRj):
            return Sent(answer.pdu, answer.side, answer.place)
        return None

    @property
    def requestor(self) -> Party:
        request = self.association_request
        title = request.calling_ae_title if request else ""
        return self._party(self.connection.client, title, request)

    @property
    def acceptor(self) -> Party:
        request = self.association_request
        title = request.called_ae_title if request else ""
        pdu = self.accepted
        if pdu is None and self.capture is not None:  # a rejection does not name who sends it
            elsewhere = (other.accepted for other in self.capture.same_acceptor(self))
            pdu = next((one for one in elsewhere if one is not None), None)
        return self._party(self.connection.server, title, pdu)

    def _party(self, address: tuple[str, int], ae_title: str, pdu: AssociateRq | AssociateAc | None) -> Party:
        items = pdu.user_information if pdu else ()
        uid, version = user_item(items, ImplementationClassUID), user_item(items, ImplementationVersionName)
        uid_text, version_text = uid.uid if uid else "", version.name if version else ""
        return Party(
            address=address[0],
            port=address[1],
            ae_title=escaped(ae_title),
            implementation_class_uid=escaped(uid_text),
            implementation_version_name=escaped(version_text),
            product=product_of(uid_text, version_text),
        )

    @property
    def released(self) -> bool:
        """The association ended in order."""
        return any(isinstance(sent.pdu, ReleaseRp) for sent in self.releases)

    @property
    def begins_late(self) -> bool:
        """The association request was not captured, though something was said."""
        return self.connection.late and self.request is None

    # -- what is heard

    def pdu(self, side: Side, pdu: Pdu, violations: list[DecodeError], place: Place) -> None:
        self.last_said = place
        name = f"{_NAMES[type(pdu)]}"
        unexpected = self._unexpected(side, pdu)
        if unexpected:
            self.fault(side, "pdu-unexpected", f"{name}: {unexpected}", "PS3.8 9.2.3, Table 9-10", place)
        for violation in violations[:8]:
            self.tolerated.append(Fault("pdu-malformed", str(violation), violation.section, side, place))
        detail = ""
        match pdu:
            case AssociateRq():
                if self.request is None:
                    self.request = Sent(pdu, side, place)
                detail = self._request_words(pdu)
            case AssociateAc():
                detail = self._accept(side, pdu, place)
            case AssociateRj():
                if self.answer is None:
                    self.answer = Sent(pdu, side, place)
                detail = reject_words(pdu.result, pdu.source, pdu.reason)
            case Abort():
                self.aborts.append(Sent(pdu, side, place))
                detail = abort_words(pdu.source, pdu.reason)
            case ReleaseRq() | ReleaseRp():
                self.releases.append(Sent(pdu, side, place))
            case _:
                pass
        bad = isinstance(pdu, AssociateRj | Abort) or bool(unexpected)
        self._event(name, detail, side, place, bad=bad)

    def _request_words(self, pdu: AssociateRq) -> str:
        words = f"{escaped(pdu.calling_ae_title)} calls {escaped(pdu.called_ae_title)}"
        words += f", {_contexts(len(pdu.presentation_contexts))}"
        identity = user_item(pdu.user_information, UserIdentityRq)
        if identity is not None:
            who = identity.primary.decode("utf-8", "replace")[:64] if self.unmask else data_set.MASKED
            words += f", user identity of type {identity.type} ({escaped(who)})"
        return words

    def _accept(self, side: Side, pdu: AssociateAc, place: Place) -> str:
        if self.answer is None:
            self.answer = Sent(pdu, side, place)
        if self.request is None or self.negotiated is not None:
            return f"{_contexts(len(pdu.presentation_contexts))} answered"
        self.negotiated = accepted(self.request.pdu, pdu)
        self._limits = {Side.REQUESTOR: _limit(pdu), Side.ACCEPTOR: _limit(self.request.pdu)}
        usable, proposed = len(self.negotiated.contexts), len(self.negotiated.outcomes)
        return f"{usable} of {_contexts(proposed)} accepted"

    def _unexpected(self, side: Side, pdu: Pdu) -> str:
        """Why this side may not send this PDU now, "" where it may.

        Only what the sender must have known when it sent is held against it: what is on its way crosses.
        """
        stream = self.ear(side).stream
        if stream is None or not stream.in_step or self.connection.late:
            return ""
        if any(sent.side is side for sent in self.aborts):
            return "it comes after this side's own A-ABORT"
        if isinstance(pdu, Abort):
            return ""
        if isinstance(pdu, AssociateRq):
            if side is Side.ACCEPTOR:
                return "the acceptor cannot request an association"
            return "a second request on the same connection" if self.request else ""
        if isinstance(pdu, AssociateAc | AssociateRj):
            if side is Side.REQUESTOR:
                return "the requestor cannot answer its own request"
            if self.request is None and self._other_in_step(side):
                return "there was no request to answer"
            return "a second answer to the same request" if self.answer else ""
        if self.accepted is None and (self.answer or self._other_in_step(side)):
            return "no association is established"
        other_asked = any(isinstance(s.pdu, ReleaseRq) and s.side is not side for s in self.releases)
        if isinstance(pdu, ReleaseRp) and not other_asked and self._other_in_step(side):
            return "nobody asked for a release"
        if isinstance(pdu, ReleaseRq) and any(
            isinstance(s.pdu, ReleaseRq) and s.side is side for s in self.releases
        ):
            return "a second request for the release"
        return ""

    def _other_in_step(self, side: Side) -> bool:
        other = self.ear(Side.ACCEPTOR if side is Side.REQUESTOR else Side.REQUESTOR)
        if other.stream is None:
            return self.connection.half(other.side).next >= 0  # else nothing of it is in the capture
        return other.stream.in_step

    def p_data(self, side: Side, length: int, place: Place) -> None:
        self.last_said = place
        limit = self._limits.get(side)
        if limit is None or self.aborts or self.releases:
            self._check_p_data(side, place)
        elif limit < length and side not in self.too_long:
            self.too_long[side] = (length, limit, place)

    def _check_p_data(self, side: Side, place: Place) -> None:
        """Whether P-DATA may come before an association is there, or at its end."""
        asked = any(isinstance(s.pdu, ReleaseRq) and s.side is side for s in self.releases)
        stream = self.ear(side).stream
        in_step = stream is not None and stream.in_step and not self.connection.late
        unexpected = ""
        if any(sent.side is side for sent in self.aborts):
            unexpected = "it comes after this side's own A-ABORT"
        elif self.accepted is None and in_step and (self.answer or self._other_in_step(side)):
            unexpected = "no association is established"
        elif asked and not any(s.side is not side for s in self.releases):
            unexpected = "it comes after this side's own A-RELEASE-RQ"
        if unexpected and not any(fault.code == "pdu-unexpected" for fault in self.faults):
            what = f"P-DATA-TF: {unexpected}"
            self.fault(side, "pdu-unexpected", what, "PS3.8 9.2.3, Table 9-10", place)

    def value(self, side: Side, presentation_context_id: int, place: Place) -> None:
        if self.negotiated is None or presentation_context_id in self.negotiated.contexts:
            return
        if (presentation_context_id, 0) in {
            (o.presentation_context_id, o.result) for o in self.negotiated.outcomes
        }:
            return  # accepted, with a foreign transfer syntax: who uses it takes the acceptor at its word
        if len(self.unknown_contexts) < FAULTS:
            self.unknown_contexts.setdefault((side, presentation_context_id), place)

    def command(
        self, side: Side, context: int, command: Command, violations: tuple[Violation, ...], place: Place
    ) -> None:
        self.last_said = place
        for violation in violations:
            lacking = violation.section == "PS3.7 E.1" and violation.field == "priority"
            code = "command-field-missing" if lacking else "command-malformed"
            self.tolerated.append(Fault(code, escaped(violation.message), violation.section, side, place))
        detail = f"context {context}"
        bad = False
        if isinstance(command, Response):
            exchange = self.exchanges.answer(side, command, place)
            self._answering[side] = exchange if command.data_set else None
            service = exchange.service if exchange else status.GENERAL
            detail = status.words(service, command.status)
            bad = status.status_class(service, command.status) is status.StatusClass.FAILURE
            if command.error_comment:
                detail += f": {escaped(command.error_comment)}"
            if exchange is not None and exchange.pending > MATCHES_SHOWN and not exchange.done:
                self.events.omitted += 1
                return
        else:
            exchange = self.exchanges.ask(side, context, command, place)
            self._asking[side] = exchange if command.data_set else None
            detail = _request_detail(exchange, command)
        self._event(command.name, detail, side, place, bad=bad)

    def data_set(self, side: Side, head: DataSetHead, place: Place) -> None:
        self.last_said = place
        syntax = self.transfer_syntax_of(head.presentation_context_id)
        examined = data_set.examine(bytes(head.head), head.length, syntax)
        asking, answering = self._asking.pop(side, None), self._answering.pop(side, None)
        if asking is not None:
            asking.place, asking.data_set_length = place, head.length
            asking.faults = examined.faults
            if not isinstance(asking.request, CStoreRq) or examined.faults:
                asking.data_set = examined
            if examined.faults:
                self.exchanges.keep(asking)
            detail = f"{head.length:,} bytes"
            if not isinstance(asking.request, CStoreRq):
                detail += f": {data_set.describe(examined, unmask=self.unmask)}"
            self._event(f"{asking.name} data set", detail, side, place, bad=bool(examined.faults))
        elif answering is not None:
            answering.response_data_set = examined
            if answering.pending <= MATCHES_SHOWN:
                detail = data_set.describe(examined, unmask=self.unmask)
                self._event(f"{answering.name} identifier", detail, side, place)

    def transfer_syntax_of(self, presentation_context_id: int) -> str:
        """UID, "" where it is not known."""
        if self.negotiated is None:
            return ""
        context = self.negotiated.contexts.get(presentation_context_id)
        return context.transfer_syntax if context else ""

    def fault(self, side: Side, code: str, message: str, section: str, place: Place) -> None:
        if len(self.faults) < FAULTS:
            self.faults.append(Fault(code, escaped(message), section, side, place))
        self._event("fault", escaped(message), side, place, bad=True)

    def _event(self, name: str, detail: str, side: Side, place: Place, *, bad: bool = False) -> None:
        self.events.add(
            Event(
                time=place.time,
                name=name,
                detail=detail,
                sender=side,
                frame=place.frame or None,
                byte_range=(place.start, place.end),
                bad=bad,
            )
        )


def _contexts(count: int) -> str:
    return f"{count} presentation context{'' if count == 1 else 's'}"


def _limit(pdu: AssociateRq | AssociateAc) -> int:
    """Bytes of a P-DATA-TF that who sent this takes; one that says nothing is not judged."""
    item = user_item(pdu.user_information, MaximumLength)
    return (item.maximum_length if item else 0) or NO_LIMIT


_NAMES: Final[dict[type[Pdu], str]] = {
    AssociateRq: "A-ASSOCIATE-RQ",
    AssociateAc: "A-ASSOCIATE-AC",
    AssociateRj: "A-ASSOCIATE-RJ",
    ReleaseRq: "A-RELEASE-RQ",
    ReleaseRp: "A-RELEASE-RP",
    Abort: "A-ABORT",
}


def _request_detail(exchange: Exchange | None, command: Command) -> str:
    if exchange is None:
        return ""
    words = f"message {exchange.request.message_id}"
    if exchange.sop_class_uid:
        words += f", {escaped(name_of(exchange.sop_class_uid))}"
    if isinstance(command, CMoveRq):
        words += f", to {escaped(command.move_destination)}"
    if isinstance(command, CStoreRq) and command.move_originator_application_entity_title:
        words += f", moved for {escaped(command.move_originator_application_entity_title)}"
    return words


@dataclass(slots=True, eq=False)
class CaptureFacts:
    """What rules may know beside the conversation at hand.

    Attributes:
        began, ended: seconds since 1970 of the first and the last frame.
        conversations: all of them.
        error: why the file could not be read to its end, "" where it could.
    """

    began: float
    ended: float
    conversations: list[Conversation] = field(default_factory=list)
    error: str = ""
    _protocols: dict[tuple[str, int], frozenset[Protocol]] = field(default_factory=dict)
    _by_server: dict[tuple[str, int], list[Conversation]] = field(default_factory=dict)

    def same_acceptor(self, one: Conversation) -> Iterator[Conversation]:
        """Other conversations with the same listening socket."""
        if not self._by_server:
            for conversation in self.conversations:
                self._by_server.setdefault(conversation.connection.server, []).append(conversation)
        for other in self._by_server.get(one.connection.server, ()):
            if other is not one:
                yield other

    def protocols(self, one: Conversation) -> frozenset[Protocol]:
        """What the listening socket speaks, on any connection."""
        server = one.connection.server
        if server not in self._protocols:
            talks = [one, *self.same_acceptor(one)]
            spoken = {talk.acceptor_ear.protocol for talk in talks}
            self._protocols[server] = frozenset(protocol for protocol in spoken if protocol is not None)
        return self._protocols[server]
