"""The acceptor serves another association and lets this one wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import PATIENCE, answered, capture_end, given_up, request_evidence, titles

LATE: Final = 2.0  # seconds until an answer


def detect(conversation: Conversation) -> Iterator[Hit]:
    request, capture = conversation.request, conversation.capture
    if request is None or capture is None:
        return
    answer = conversation.answer if answered(conversation) else None
    end = given_up(conversation)
    if answer is None and end is not None and end.side is Side.ACCEPTOR:
        return
    asked = request.place.time
    until = answer.place.time if answer else end.time if end else capture_end(conversation)
    if until - asked < (LATE if answer else PATIENCE):
        return
    for other in capture.same_acceptor(conversation):
        if other.accepted is None or other.answer is None or other.answer.place.time > asked:
            continue
        ends = [one.time for one in other.connection.ends]
        over = min(ends, default=capture_end(conversation))
        if over < asked or (over < until - LATE):
            continue
        yield Hit(
            values={
                **titles(conversation),
                "other": str(other.requestor),
                "seconds": f"{until - asked:.1f}",
            },
            evidence=(*request_evidence(conversation), *request_evidence(other)),
            severity=Severity.WARNING if answer else None,
        )
        return


RULE = Rule(
    code="acceptor-busy",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} lets {calling} wait ({seconds} s) while it serves {other}",
    why="The acceptor handles one association at a time: the operating system takes the connection, the "
    "program looks at it only after the other association has ended.",
    fix=Fix(
        requestor="Release associations that are idle; wait longer for the answer.",
        acceptor="Let it serve several associations at the same time.",
    ),
    check="Does the wait end when the other association does?",
    reference="PS3.8 9.1",
    confidence=Confidence.LIKELY,
    detect=detect,
)
