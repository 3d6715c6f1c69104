"""The archive does not know the move destination (PS3.4 C.4.2.1.5)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failed_moves, failures, suboperations
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits
from dicomwire.dimse.command import CMoveRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    for hit in status_hits(conversation, (one for one in failures(conversation) if one.status == 0xA801)):
        if any(suboperations(conversation, exchange) for exchange, _ in failed_moves(conversation)):
            return  # it knew where to go; pynetdicom answers A801 to whatever goes wrong there
        moves = [one.request for one in conversation.exchanges if isinstance(one.request, CMoveRq)]
        destination = moves[0].move_destination if moves else "?"
        yield Hit(values={**hit.values, "destination": destination}, evidence=hit.evidence)


RULE = Rule(
    code="move-destination-unknown",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="{called} does not know the move destination {destination}{comment}",
    why="A C-MOVE names its destination by AE title only; the archive has to know its address and port.",
    fix=Fix(
        requestor="Ask for a move to an AE title that is entered at {called}, letter by letter.",
        acceptor="Enter {destination} with its address and port.",
    ),
    check="Compare the case of the AE title on both sides.",
    reference="PS3.4 C.4.2.1.5",
    detect=detect,
)
