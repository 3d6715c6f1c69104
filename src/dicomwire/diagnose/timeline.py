"""A capture to conversations: which connections are DICOM's, and which of them belong together.

`Timeline` is what `Reassembly` tells of connections; `explain` asks the rules afterwards.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from dicomwire.diagnose.connection import Connection
from dicomwire.diagnose.conversation import CaptureFacts, Conversation
from dicomwire.diagnose.data_set import TRANSACTION_UID
from dicomwire.diagnose.dns import Lookup, Lookups
from dicomwire.diagnose.exchange import Exchange
from dicomwire.diagnose.finding import Event, Side, escaped
from dicomwire.diagnose.internet import Datagram, Fragments, datagram
from dicomwire.diagnose.link import network_offset
from dicomwire.diagnose.packets import CaptureInfo, Comment, packets
from dicomwire.diagnose.tcp import Reassembly
from dicomwire.dimse.command import CMoveRq, CStoreRq, NActionRq, NEventReportRq
from dicomwire.errors import CaptureError
from dicomwire.protocols import Protocol

DICOM_PORTS: Final = frozenset({104, 2761, 2762, 11112})  # registered for DICOM and DICOM over TLS
# Services that captures are full of: connections to them are told only where DICOM is seen.
FOREIGN_PORTS: Final = frozenset(
    {20, 21, 22, 23, 25, 53, 80, 88, 110, 111, 135, 139, 143, 389, 443, 445, 465, 514, 515, 587, 631, 636}
    | {853, 873, 993, 995, 1433, 1521, 1723, 2049, 3128, 3260, 3268, 3306, 3389, 5060, 5222, 5355, 5432, 5900}
    | {5985, 6379, 8080, 8443, 9100, 9092, 27017}
)
WEB: Final = frozenset({"h2", "http/1.1", "http/1.0", "h3", "spdy/3.1"})  # ALPN of web traffic
CONVERSATIONS: Final = 20_000  # told of one capture
DETAILED: Final = 200  # of them with all their events; the others keep a few
FOREIGN_KEPT: Final = 5_000  # connections of other protocols, in case their port turns out to be DICOM's
MOVE_SLACK: Final = 0.05  # seconds after a C-MOVE in which a sub-association may begin
MOST_NAMELESS: Final = 8  # connections of the archive that failed before an AE title was said
REPORT_DELAY: Final = 86_400.0  # seconds after an N-ACTION in which its report is looked for

STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"


@dataclass(slots=True)
class Timeline:
    """The conversations of one capture, in the order in which they began.

    Attributes:
        unmask: patients' values and credentials are shown.
        conversations: those worth telling, once `close` was called.
        lookups: names that were looked up.
        omitted: conversations beyond `CONVERSATIONS`.
    """

    unmask: bool = False
    conversations: list[Conversation] = field(default_factory=list)
    lookups: Lookups = field(default_factory=Lookups)
    omitted: int = 0
    _open: dict[Connection, Conversation] = field(default_factory=dict)
    _foreign: list[Conversation] = field(default_factory=list)
    _servers: set[tuple[str, int]] = field(default_factory=set)

    def opened(self, connection: Connection) -> None:
        self._open[connection] = Conversation(connection, self.unmask)

    def finished(self, connection: Connection) -> None:
        conversation = self._open.pop(connection, None)
        if conversation is None:
            return
        if conversation.speaks_dicom or _is_worth_telling(conversation):
            if conversation.speaks_dicom:
                self._servers.add(connection.server)
            if len(self.conversations) >= CONVERSATIONS:
                self.omitted += 1
                return
            if len(self.conversations) >= DETAILED:
                conversation.events.shorten(20, 10)
            self.conversations.append(conversation)
        elif len(self._foreign) < FOREIGN_KEPT:
            self._foreign.append(conversation)

    def udp(self, segment: Datagram, time: float, frame: int) -> None:
        self.lookups.heard(segment, time, frame)

    def is_server_port(self, port: int) -> bool:
        """Whether somebody is known to listen on a port."""
        return port in DICOM_PORTS or any(port == server[1] for server in self._servers)

    def close(self, began: float, ended: float) -> CaptureFacts:
        """All packets were seen: sort, add connections to ports that turned out to be DICOM's, and join."""
        for conversation in self._foreign:
            if conversation.connection.server in self._servers and not _is_empty(conversation):
                self.conversations.append(conversation)
        self._foreign.clear()
        self.conversations.sort(key=lambda one: (one.connection.opened[0], one.connection.opened[1]))
        facts = CaptureFacts(began, ended, self.conversations)
        for conversation in self.conversations:
            conversation.capture = facts
            _tell_transport(conversation)
        join(self.conversations)
        return facts


def _is_empty(conversation: Conversation) -> bool:
    """Nothing was said and nothing went wrong: a port scan, or a load balancer's look at the port."""
    connection = conversation.connection
    return connection.established and not any(half.position for half in connection.halves)


def _is_worth_telling(conversation: Conversation) -> bool:
    """Whether a connection without a DICOM PDU may be one that should have had some."""
    connection = conversation.connection
    port = connection.server[1]
    if conversation.notes or any(ear.proxy for ear in conversation.ears):
        return True
    if connection.late and not any(ear.tls for ear in conversation.ears):
        return False
    if port in FOREIGN_PORTS:
        return False
    if not connection.established:
        return bool(connection.syns or connection.syn_acks)
    asked, answered = (ear.protocol for ear in conversation.ears)
    if Protocol.TLS in (asked, answered):
        hellos = [ear.tls.hello for ear in conversation.ears if ear.tls is not None and ear.tls.hello]
        refused = answered is None and bool(connection.ends) and connection.ends[0].side is Side.ACCEPTOR
        return refused or not any(WEB & set(hello.protocols) for hello in hellos)
    if _is_empty(conversation):
        return bool(connection.ends) and connection.ends[0].side is Side.ACCEPTOR
    if asked in (Protocol.HTTP, Protocol.HL7, Protocol.SSH) or port in DICOM_PORTS:
        return answered is not asked or _names_dicom(conversation)
    return asked is None and bool(conversation.requestor_ear.first)


def _names_dicom(conversation: Conversation) -> bool:
    """A DICOM node may tell an HTTP client, in HTTP, where it is."""
    return b"DICOM port" in conversation.acceptor_ear.first


def _tell_transport(conversation: Conversation) -> None:
    """TCP's own events, put among the others where the sequence is shown."""
    connection, add = conversation.connection, conversation.notes.append
    for time, frame in connection.syns:
        add(Event(time=time, frame=frame, name="TCP SYN", sender=Side.REQUESTOR))
    for time, frame in connection.syn_acks:
        add(Event(time=time, frame=frame, name="TCP SYN, ACK", sender=Side.ACCEPTOR))
    for end in connection.ends:
        name = "TCP RST" if end.reset else "TCP FIN"
        add(Event(time=end.time, frame=end.frame, name=name, sender=end.side, bad=end.reset))
    for error, time, frame in connection.icmp:
        add(Event(time=time, frame=frame, name=f"ICMP {error.words}", detail=f"from {error.by}", bad=True))
    for half in connection.halves:
        for gap in half.gaps:
            if not gap.harmless:
                words = f"{gap.size:,} bytes were not captured"
                add(Event(time=gap.time, frame=gap.frame, name="gap", detail=words, sender=half.side))


def _tell_comments(conversations: list[Conversation], comments: list[Comment]) -> None:
    """What a recorded trace says beside the bytes."""
    for comment in comments:
        at = network_offset(comment.link_type, comment.packet, 0, len(comment.packet))
        segment = datagram(comment.packet, at, len(comment.packet), Fragments()) if at is not None else None
        if segment is None or segment.end - segment.start < 4:
            continue
        ports = comment.packet[segment.start : segment.start + 4]
        ends = {
            (str(ip_address(segment.source)), int.from_bytes(ports[:2], "big")),
            (str(ip_address(segment.destination)), int.from_bytes(ports[2:], "big")),
        }
        for conversation in conversations:
            connection = conversation.connection
            within = connection.opened[0] <= comment.time <= connection.last
            if within and ends == {connection.client, connection.server}:
                words = escaped(comment.text)
                event = Event(time=comment.time, frame=comment.frame, name="note", detail=words)
                conversation.notes.append(event)


def join(conversations: list[Conversation]) -> None:
    """Conversations that belong together: C-MOVE and its sub-associations, a commitment and its report.

    conversations: in the order in which they began.
    """
    times = [conversation.connection.opened[0] for conversation in conversations]
    for conversation in conversations:
        for exchange in conversation.exchanges:
            if isinstance(exchange.request, CMoveRq):
                ended = exchange.response_place.time + MOVE_SLACK if exchange.response_place else times[-1]
                start, stop = bisect_left(times, exchange.began.time), bisect_right(times, ended)
                found: Iterable[Conversation] = _suboperations(
                    conversation, exchange, exchange.request, conversations[start:stop]
                )
            elif isinstance(exchange.request, NActionRq) and exchange.sop_class_uid == STORAGE_COMMITMENT:
                start = bisect_left(times, exchange.place.time)
                stop = bisect_right(times, exchange.place.time + REPORT_DELAY)
                found = _reports(conversation, exchange, conversations[start:stop])
            else:
                continue
            for other in found:
                if other is not conversation and other not in conversation.related:
                    conversation.related.append(other)
                    other.related.append(conversation)


def _suboperations(
    conversation: Conversation, exchange: Exchange, command: CMoveRq, others: Iterable[Conversation]
) -> list[Conversation]:
    """Of the associations that began while an archive moved, those that it opened for that."""
    archive = conversation.connection.server[0]
    archive_is_here = _is_loopback(archive)
    title = conversation.request.pdu.called_ae_title if conversation.request else ""
    found: list[Conversation] = []
    nameless: dict[bool, list[Conversation]] = {
        True: [],
        False: [],
    }  # by: from its very address
    for other in others:
        if other is conversation:
            continue
        request = other.association_request
        caller = other.connection.client[0]
        from_archive = caller == archive or (archive_is_here and _is_loopback(caller))
        if request is None:
            if from_archive and not other.connection.established:
                nameless[caller == archive].append(other)
        elif (request.calling_ae_title == title or from_archive) and (
            # A destination may be called by another AE title than the C-MOVE's: then its originator tells.
            request.called_ae_title == command.move_destination or _moves(other, exchange, title)
        ):
            found.append(other)
    return found or (nameless[True] or nameless[False])[:MOST_NAMELESS]


def _is_loopback(address: str) -> bool:
    """One machine has many such addresses."""
    return address.startswith("127.") or address == "::1"


def _moves(other: Conversation, exchange: Exchange, archive: str) -> bool:
    """The archive's C-STOREs name the C-MOVE as their originator (PS3.7 9.3.1.1)."""
    request = other.association_request
    return (
        request is not None
        and request.calling_ae_title == archive
        and any(
            isinstance(one.request, CStoreRq)
            and one.request.move_originator_message_id == exchange.request.message_id
            and one.request.move_originator_application_entity_title
            for one in other.exchanges
        )
    )


def _reports(
    conversation: Conversation, exchange: Exchange, others: Iterable[Conversation]
) -> Iterator[Conversation]:
    """Of the associations that began after it, those on which a storage commitment was to be reported."""
    transaction = exchange.data_set.text(TRANSACTION_UID) if exchange.data_set else ""
    title = conversation.request.pdu.calling_ae_title if conversation.request else ""
    for other in others:
        if other is conversation:
            continue
        if other.connection.client[0] != conversation.connection.server[0]:
            continue
        reported = [
            one.data_set.text(TRANSACTION_UID)
            for one in other.exchanges
            if isinstance(one.request, NEventReportRq) and one.data_set
        ]
        request = other.association_request
        if reported:
            if transaction in reported:
                yield other
        elif request is None:
            if other.connection.server[0] == conversation.connection.client[0] and not other.speaks_dicom:
                yield other
        elif request.called_ae_title == title and any(
            context.abstract_syntax == STORAGE_COMMITMENT for context in request.presentation_contexts
        ):
            yield other


@dataclass(slots=True)
class Heard:
    """What a capture file holds.

    Attributes:
        facts: its conversations.
        unresolved: names that were looked up in vain.
        info: about the file.
        error: why it could not be read to its end; None where it could.
        frames: packets in it.
        tcp_packets: of them, roughly, those that took the long way; 0 where there is no TCP.
    """

    facts: CaptureFacts
    unresolved: list[Lookup]
    info: CaptureInfo
    error: CaptureError | None
    frames: int
    omitted: int


def listen(chunks: Iterable[bytes], *, unmask: bool = False) -> Heard:
    """Reads a capture file.

    Args:
        chunks: the file in pieces of any length.
        unmask: show patients' values and credentials.
    """
    timeline = Timeline(unmask)
    reassembly = Reassembly(timeline, timeline.is_server_port)
    info = CaptureInfo()
    error: CaptureError | None = None
    try:
        reassembly.run(packets(chunks, info))
    except CaptureError as fault:
        error = fault
    reassembly.finish()
    _tell_comments(timeline.conversations, info.comments)
    facts = timeline.close(reassembly.first, reassembly.last)
    facts.error = str(error) if error else ""
    return Heard(facts, timeline.lookups.in_vain(), info, error, reassembly.frames, timeline.omitted)
