"""A client without TLS calls a port that speaks TLS."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.protocols import Protocol
from dicomwire.diagnose.rules.foreign import spoken_at
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import first_bytes, protocol, request_evidence, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    if protocol(conversation, Side.REQUESTOR) is not Protocol.DICOM:
        return
    answered = protocol(conversation, Side.ACCEPTOR)
    certain = answered is Protocol.TLS
    if not certain and (answered is not None or Protocol.TLS not in spoken_at(conversation)):
        return
    yield Hit(
        values=titles(conversation),
        evidence=(*request_evidence(conversation), *first_bytes(conversation, Side.ACCEPTOR)),
        confidence=None if certain else Confidence.LIKELY,
    )


RULE = Rule(
    code="plain-client-on-tls-port",
    layer=Layer.TLS,
    side=Side.REQUESTOR,
    summary="{calling} speaks plain DICOM to {acceptor_address} port {port}, which speaks TLS",
    why="The acceptor waits for a TLS ClientHello; to an A-ASSOCIATE-RQ it answers with a TLS alert, or "
    "closes.",
    fix=Fix(
        requestor="Switch TLS on for this peer, with a certificate it trusts if it asks for one, or "
        "enter its "
        "port without TLS.",
        acceptor="Offer a port without TLS, if the site allows it.",
    ),
    check="Try C-ECHO with TLS on the same port.",
    reference="PS3.15 B.1",
    detect=detect,
)
