"""The move destination does not take these objects (PS3.4 C.4.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failed_moves, suboperations
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, exchange_evidence, exchange_values


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange, command in failed_moves(conversation):
        for other in suboperations(conversation, exchange):
            refused = (
                [one for one in other.negotiated.outcomes if not one.accepted] if other.negotiated else []
            )
            stored = {one.sop_class_uid for one in other.exchanges if one.name == "C-STORE"}
            if not refused or other.answer is None or exchange.count("failed") <= 0 < len(stored):
                continue
            if stored and not [one for one in refused if one.abstract_syntax not in stored]:
                continue
            usable = other.negotiated.contexts if other.negotiated else {}
            words = refused[0].words
            if not usable and len(refused) > 1:
                words = f"none of {len(refused)} presentation contexts is accepted, such as {words}"
            yield Hit(
                values={
                    **exchange_values(conversation, exchange),
                    "destination": command.move_destination,
                    "words": words,
                    "where": str(other.acceptor),
                },
                evidence=(
                    *(other.answer.evidence(one.words) for one in refused[:SHOWN]),
                    *exchange_evidence(exchange),
                ),
                confidence=Confidence.LIKELY if usable else None,
            )
            return


RULE = Rule(
    code="move-destination-context",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="the move destination {where} does not take what is to be sent: {words}",
    why="Archive and destination have no SOP class or transfer syntax in common for these objects: often "
    "they are stored compressed, and the destination takes uncompressed ones only.",
    fix=Fix(
        requestor="At the destination {destination}: support the SOP class and transfer syntax.",
        acceptor="Let the archive propose uncompressed syntaxes too, and decompress.",
    ),
    check="The related story has the table of presentation contexts.",
    reference="PS3.4 C.4.2, PS3.5 10.1",
    detect=detect,
)
