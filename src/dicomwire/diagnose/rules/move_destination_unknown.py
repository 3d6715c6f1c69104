"""The archive does not know the move destination (PS3.4 C.4.2.1.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.exchange import Exchange
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failed_moves, suboperations
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values

_DESTINATION_UNKNOWN: Final = 0xA801
_UNABLE_TO_PROCESS: Final = 0xC000


def detect(conversation: Conversation) -> Iterator[Hit]:
    unknown = [
        (exchange, command)
        for exchange, command in failed_moves(conversation)
        if _says_so(conversation, exchange)
    ]
    for exchange, command in unknown[:1]:
        if any(suboperations(conversation, one) for one, _ in failed_moves(conversation)):
            return  # it knew where to go; pynetdicom answers A801 to whatever goes wrong there
        yield Hit(
            values={**exchange_values(conversation, exchange), "destination": command.move_destination},
            evidence=exchange_evidence(exchange),
            confidence=None if exchange.status == _DESTINATION_UNKNOWN else Confidence.LIKELY,
        )


def _says_so(conversation: Conversation, exchange: Exchange) -> bool:
    """Orthanc 1.10.1 answers C000 instead, and announces itself as the DCMTK that it is built on."""
    if exchange.status == _UNABLE_TO_PROCESS:
        return conversation.acceptor.product in ("Orthanc", "DCMTK")
    return exchange.status == _DESTINATION_UNKNOWN


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
