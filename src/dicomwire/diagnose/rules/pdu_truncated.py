"""A PDU whose end never came (PS3.8 9.3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import closed, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    end = closed(conversation)
    if end is None:
        return
    for ear in conversation.ears:
        stream = ear.stream
        if stream is None or not stream.in_step or not stream.within:
            continue
        if end.side is not ear.side or _aborted_before(conversation, ear.side, end.time):
            continue
        yield Hit(
            values={**titles(conversation), "sender": ear.side, "within": stream.within},
            evidence=(end.evidence,),
            side=ear.side,
        )


def _aborted_before(conversation: Conversation, side: Side, time: float) -> bool:
    """The other side had aborted: then nobody waits for the rest."""
    return any(sent.side is not side and sent.place.time < time for sent in conversation.aborts)


RULE = Rule(
    code="pdu-truncated",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {sender} closed the connection within a PDU: {within}",
    why="It stopped in the middle of what it was sending: it crashed, was killed, ran into a timeout, or "
    "counts the length of its PDUs wrongly.",
    fix=Fix(
        requestor="If it is the sender: look at its log at that time; was the transfer cancelled?",
        acceptor="If it is the sender: look at its log at that time.",
    ),
    check="Does it happen at the same byte each time? Then the PDU-length is wrong, else the sender died.",
    reference="PS3.8 9.3.1",
    detect=detect,
)
