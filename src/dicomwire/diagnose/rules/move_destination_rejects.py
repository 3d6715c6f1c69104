"""The move destination rejects the archive (PS3.4 C.4.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failed_moves, suboperations
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values
from dicomwire.upper_layer.reasons import reject_words


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange, command in failed_moves(conversation):
        for other in suboperations(conversation, exchange):
            rejected = other.rejected
            if rejected is None:
                continue
            pdu = rejected.pdu
            words = reject_words(pdu.result, pdu.source, pdu.reason)
            values = {**exchange_values(conversation, exchange), "destination": command.move_destination}
            seen = rejected.evidence(
                f"A-ASSOCIATE-RJ {pdu.result}/{pdu.source}/{pdu.reason} of the destination"
            )
            yield Hit(
                values={
                    **values,
                    "words": words,
                    "archive": other.requestor.ae_title,
                    "where": str(other.acceptor),
                },
                evidence=(seen, *exchange_evidence(exchange)),
            )
            return


RULE = Rule(
    code="move-destination-rejects",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="the move destination {where} rejects the archive {archive}: {words}",
    why="The archive opened an association to the destination, and the destination did not take it. The "
    "C-MOVE's own status only says that its sub-operations failed.",
    fix=Fix(
        requestor="At the destination {destination}: enter the archive's AE title {archive} and its address.",
        acceptor="Call the destination by its own AE title, and itself by one that is entered there.",
    ),
    check="The related story is the association that was rejected.",
    reference="PS3.4 C.4.2, PS3.8 9.3.4",
    detect=detect,
)
