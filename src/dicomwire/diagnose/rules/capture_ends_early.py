"""The capture ends before the answer came."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.operations import unanswered
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, request_evidence, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if connection.over or conversation.released or conversation.rejected or conversation.aborts:
        return
    if connection.ends or (conversation.capture and conversation.capture.error):
        return
    waiting = unanswered(conversation)
    if waiting:
        what = waiting[0].request.name
    elif conversation.request is not None and conversation.answer is None:
        what = "A-ASSOCIATE-RQ"
    elif connection.syn_acks and not any(half.position for half in connection.halves):
        what = "connection request"
    elif any(ear.stream and (ear.stream.message_open or ear.stream.within) for ear in conversation.ears):
        what = "message"
    else:
        return
    yield Hit(
        values={**titles(conversation), "asked": what},
        evidence=exchange_evidence(waiting[0]) if waiting else request_evidence(conversation),
    )


RULE = Rule(
    code="capture-ends-early",
    severity=Severity.WARNING,
    layer=Layer.CAPTURE,
    side=Side.EITHER,
    summary="the capture ends before the {asked} was answered",
    why="Whether it was answered later cannot be known.",
    fix=Fix(
        requestor="Let the capture run until the operation is over.",
        acceptor="Let the capture run until the operation is over.",
    ),
    check="The logs of both sides say how it ended.",
    reference="PS3.7 9.1",
    detect=detect,
)
