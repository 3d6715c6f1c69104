"""The capture begins within the association."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    if not conversation.begins_late or not conversation.speaks_dicom:
        return
    yield Hit(
        values=titles(conversation),
        evidence=(
            Evidence(
                what="first frame",
                time=conversation.connection.opened[0],
                frame=conversation.connection.opened[1],
            ),
        ),
    )


RULE = Rule(
    code="capture-starts-late",
    severity=Severity.WARNING,
    layer=Layer.CAPTURE,
    side=Side.EITHER,
    summary="the capture begins after the association was established",
    why="What was proposed and accepted is not in the capture: AE titles, presentation contexts, transfer "
    "syntaxes and what failed before cannot be known.",
    fix=Fix(
        requestor="Start the capture first, then let the device connect anew.",
        acceptor="Start the capture first, then let the device connect anew.",
    ),
    check="What can be read of the rest is in the sequence of events.",
    reference="PS3.8 7.1",
    detect=detect,
)
