"""The acceptor aborted the association (PS3.8 9.3.8)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import first_abort, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    sent = first_abort(conversation)
    if sent is None or sent.side is not Side.ACCEPTOR:
        return
    pdu = sent.pdu
    yield Hit(
        values={**titles(conversation), "numbers": f"{pdu.source}/{pdu.reason}"},
        evidence=(sent.evidence("A-ABORT", source=pdu.source, reason=pdu.reason),),
    )


RULE = Rule(
    code="abort-by-acceptor",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} aborted the association ({numbers})",
    why="An acceptor aborts when a PDU or message makes no sense to it, when a timeout expires, when it is "
    "shut down, or when it has an error of its own.",
    fix=Fix(
        requestor="Look at what it sent last.",
        acceptor="Look at its log at that time.",
    ),
    check="The last messages before the abort show what was not to its liking.",
    reference="PS3.8 7.3, 7.4, 9.3.8",
    detect=detect,
)
