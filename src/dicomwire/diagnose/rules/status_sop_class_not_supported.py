"""Refused: SOP class not supported (PS3.7 C.5.9)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(conversation, (one for one in failures(conversation) if one.status == 0x0122))


RULE = Rule(
    code="status-sop-class-not-supported",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="the {answerer} does not support {sop_class}, though it accepted its context: {status}{comment}",
    why="The context was accepted, the operation is refused: the acceptor takes contexts more freely than "
    "its services, or the service is switched off.",
    fix=Fix(
        requestor="Use another SOP class or another destination.",
        acceptor="Support {operation} for {sop_class}, or do not accept the context.",
    ),
    check="The acceptor's conformance statement.",
    reference="PS3.7 C.5.9",
    detect=detect,
)
