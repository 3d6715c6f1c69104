"""Refused: out of resources (PS3.4 B.2.3, C.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    found = [one for one in failures(conversation) if (one.status or 0) >> 8 == 0xA7]
    retrievals = [one for one in found if one.status == 0xA702 and one.name in ("C-MOVE", "C-GET")]
    yield from status_hits(conversation, [one for one in found if one not in retrievals])
    # That of a retrieval is about its sub-operations, whose own causes come first.
    for hit in status_hits(conversation, retrievals):
        yield Hit(values=hit.values, evidence=hit.evidence, side=hit.side, confidence=Confidence.LIKELY)


RULE = Rule(
    code="status-out-of-resources",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="the {answerer} refuses {times} {operation} for lack of resources: {status}{comment}",
    why="It has no room for what was sent or asked for: a full disk, a database without space, a limit of "
    "size or number.",
    fix=Fix(
        requestor="Nothing is wrong with what was sent; send it again once there is room.",
        acceptor="Make room: look at the disk, the database and the limits of size and number.",
    ),
    check="Free space on the volume of the archive; its log at that time.",
    reference="PS3.4 B.2.3, C.4.1.1.4",
    detect=detect,
)
