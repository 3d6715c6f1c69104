"""Both sides asked for the release at the same time (PS3.8 7.2.2.7)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles
from dicomwire.upper_layer.pdu import ReleaseRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    asked = [sent for sent in conversation.releases if isinstance(sent.pdu, ReleaseRq)]
    sides = {sent.side for sent in asked}
    if len(sides) < 2:
        return
    yield Hit(
        values=titles(conversation), evidence=tuple(sent.evidence("A-RELEASE-RQ") for sent in asked[:2])
    )


RULE = Rule(
    code="release-collision",
    severity=Severity.INFO,
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="both sides asked for the release at the same time",
    why="That is legal and the standard says how it ends: the requestor answers first.",
    fix=Fix(),
    check="Nothing, if the association ended; else look at who did not answer.",
    reference="PS3.8 7.2.2.7, 9.2.3 (AR-8 to AR-10)",
    detect=detect,
)
