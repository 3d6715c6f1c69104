"""Only one direction of the connection was captured."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import OTHER, request_evidence, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    silent = conversation.connection.unseen
    if silent is None or not conversation.speaks_dicom:
        return
    yield Hit(
        values={**titles(conversation), "silent": silent, "seen": OTHER[silent]},
        evidence=request_evidence(conversation),
    )


RULE = Rule(
    code="capture-one-sided",
    severity=Severity.WARNING,
    layer=Layer.CAPTURE,
    side=Side.NETWORK,
    summary="the capture has what the {seen} sent, and not one packet of the {silent}",
    why="The capture was made where only one direction passes: a mirror port set to one direction, or "
    "different ways for both. What the {silent} answered cannot be known.",
    fix=Fix(network="Capture on one of the two machines, or mirror both directions."),
    check="Do other connections show both directions?",
    reference="RFC 9293 3.1",
    detect=detect,
)
