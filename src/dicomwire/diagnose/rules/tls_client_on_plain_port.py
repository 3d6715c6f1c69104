"""A TLS client calls a port that speaks DICOM without TLS."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import spoken_at
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import closed, first_bytes, protocol, titles
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    if protocol(conversation, Side.REQUESTOR) is not Protocol.TLS:
        return
    answered = protocol(conversation, Side.ACCEPTOR)
    tls = conversation.acceptor_ear.tls
    if answered is Protocol.TLS and (
        tls is None or tls.hello is not None or Protocol.DICOM not in spoken_at(conversation)
    ):
        return  # a node that knows TLS when it sees it may answer with an alert, and still speak none
    plain = answered is Protocol.DICOM or Protocol.DICOM in spoken_at(conversation)
    if not plain and (answered is not None or not closed(conversation)):
        return
    yield Hit(
        values=titles(conversation),
        evidence=(*first_bytes(conversation, Side.REQUESTOR), *first_bytes(conversation, Side.ACCEPTOR)),
        confidence=None if plain else Confidence.LIKELY,
    )


RULE = Rule(
    code="tls-client-on-plain-port",
    layer=Layer.TLS,
    side=Side.REQUESTOR,
    summary="{requestor_address} starts TLS, {acceptor_address} port {port} speaks DICOM without it",
    why="The first bytes are a TLS ClientHello. The acceptor takes them for a broken PDU and aborts, closes "
    "or waits.",
    fix=Fix(
        requestor="Switch TLS off for this peer, or enter its TLS port (often 2762).",
        acceptor="Offer a port with TLS (PS3.15 B), and tell which one it is.",
    ),
    check="Try C-ECHO without TLS on the same port.",
    reference="PS3.15 B.1",
    detect=detect,
)
