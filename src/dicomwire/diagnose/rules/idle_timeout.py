"""An association that was left open until somebody closed it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import given_up, titles
from dicomwire.upper_layer.pdu import ReleaseRq

FEWEST: Final = 5.0  # seconds of silence


def detect(conversation: Conversation) -> Iterator[Hit]:
    if conversation.accepted is None or conversation.exchanges.outstanding:
        return
    if any(isinstance(sent.pdu, ReleaseRq) for sent in conversation.releases):
        return
    end = given_up(conversation)
    if end is None:
        return
    said = [conversation.answer.place.time] if conversation.answer else []
    said += [one.response_place.time for one in conversation.exchanges if one.response_place]
    silence = end.time - max(said, default=end.time)
    if silence < FEWEST or any(one.failed for one in conversation.exchanges):
        return
    yield Hit(
        values={**titles(conversation), "seconds": f"{silence:.0f}", "closer": end.side, "how": end.how},
        evidence=(end.evidence,),
    )


RULE = Rule(
    code="idle-timeout",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {closer} ended the association ({how}) after {seconds} s without a message",
    why="The requestor keeps the association open between its operations; the {closer} does not wait that "
    "long. What was answered is done; the next operation on that association fails.",
    fix=Fix(
        requestor="Release the association after the last operation, or open a new one for the next.",
        acceptor="Raise the idle timeout if the requestor cannot be changed.",
        network="If neither side ended it: raise the idle timeout of the firewall between.",
    ),
    check="Compare the {seconds} s with the timeouts configured on both sides.",
    reference="PS3.8 7.3, 7.4",
    confidence=Confidence.LIKELY,
    detect=detect,
)
