"""The acceptor closed the connection instead of answering (PS3.8 9.2.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import PATIENCE, closed, exchange_evidence, request_evidence, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    end = closed(conversation)
    if end is None or end.side is not Side.ACCEPTOR or conversation.aborts or not connection.established:
        return
    asked = connection.requestor.position
    outstanding = [one for one in conversation.exchanges.outstanding if one.side is Side.REQUESTOR]
    if connection.acceptor.position and not outstanding:
        return
    if outstanding and (conversation.released or not conversation.answer):
        return
    if not asked and end.time - connection.opened[0] >= PATIENCE:
        return
    what = outstanding[0].request.name if outstanding else "A-ASSOCIATE-RQ"
    seen = exchange_evidence(outstanding[0]) if outstanding else request_evidence(conversation)
    yield Hit(
        values={**titles(conversation), "asked": what},
        evidence=(*seen, end.evidence),
        confidence=None if asked else Confidence.LIKELY,
    )


RULE = Rule(
    code="tcp-closed-before-answer",
    layer=Layer.TCP,
    side=Side.ACCEPTOR,
    summary="{called} closed the connection instead of answering the {asked}",
    why="It took the connection and hung up. Usual causes: an access list by address (TCP wrappers), too "
    "many connections, a crash while it read the request, or a port that speaks another protocol.",
    fix=Fix(
        requestor="Check that {acceptor_address} port {port} is the DICOM port, and without TLS.",
        acceptor="Look at its log at that time: is {requestor_address} allowed, was there a limit or a "
        "crash?",
        network="A load balancer closes like this when the server behind it is down.",
    ),
    check="Connect from another machine; try C-ECHO with one presentation context.",
    reference="PS3.8 9.2.3 (AA-4)",
    detect=detect,
)
