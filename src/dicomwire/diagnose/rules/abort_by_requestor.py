"""The requestor aborted the association (PS3.8 9.3.8)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    for sent in conversation.aborts[:1]:
        if sent.side is Side.REQUESTOR:
            pdu = sent.pdu
            yield Hit(
                values={**titles(conversation), "numbers": f"{pdu.source}/{pdu.reason}"},
                evidence=(sent.evidence("A-ABORT", source=pdu.source, reason=pdu.reason),),
            )


RULE = Rule(
    code="abort-by-requestor",
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="{calling} aborted the association ({numbers}) instead of releasing it",
    why="A requestor aborts when its user cancels, when it does not like an answer, or when it is badly "
    "written. What was answered before is done.",
    fix=Fix(
        requestor="Look at its log at that time; it should release associations in order.",
        acceptor="Look at what it answered last.",
    ),
    check="The last messages before the abort show what was not to its liking.",
    reference="PS3.8 7.3, 9.3.8",
    detect=detect,
)
