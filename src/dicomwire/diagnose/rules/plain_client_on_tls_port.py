"""A client without TLS calls a port that speaks TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import spoken_at
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import closed, first_bytes, protocol, request_evidence, titles
from dicomwire.protocols import Protocol

TLS_PORT: Final = 2762  # registered for DICOM over TLS


def detect(conversation: Conversation) -> Iterator[Hit]:
    if protocol(conversation, Side.REQUESTOR) is not Protocol.DICOM:
        return
    answered = protocol(conversation, Side.ACCEPTOR)
    certain = answered is Protocol.TLS
    known = Protocol.TLS in spoken_at(conversation) or conversation.connection.server[1] == TLS_PORT
    end = closed(conversation)
    # OpenSSL's servers close at the first bytes that are no TLS, and say nothing.
    hung_up = end is not None and end.side is Side.ACCEPTOR and conversation.request is not None
    if not certain and (answered is not None or not (known or hung_up)):
        return
    confidence = None if certain else Confidence.LIKELY if known else Confidence.POSSIBLE
    yield Hit(
        values=titles(conversation),
        evidence=(*request_evidence(conversation), *first_bytes(conversation, Side.ACCEPTOR)),
        confidence=confidence,
    )


RULE = Rule(
    code="plain-client-on-tls-port",
    layer=Layer.TLS,
    side=Side.REQUESTOR,
    summary="{calling} speaks plain DICOM to {acceptor_address} port {port}, which speaks TLS",
    why="The acceptor waits for a TLS ClientHello; to an A-ASSOCIATE-RQ it answers with a TLS alert, or "
    "closes.",
    fix=Fix(
        requestor="Switch TLS on for this peer, with a certificate it trusts if it asks for one, or enter "
        "its port without TLS.",
        acceptor="Offer a port without TLS, if the site allows it.",
    ),
    check="Try C-ECHO with TLS on the same port.",
    reference="PS3.15 B.1",
    detect=detect,
)
