"""The device may not query or retrieve (PS3.7 C.5.25)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.operations import QUERY, WORKLIST
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import (
    PATIENCE,
    contexts_matter,
    exchange_evidence,
    exchange_values,
    refused_contexts,
    titles,
)


def detect(conversation: Conversation) -> Iterator[Hit]:
    asked = [
        one for one in conversation.exchanges if one.sop_class_uid in QUERY or one.sop_class_uid in WORKLIST
    ]
    for exchange in asked:
        comment = (exchange.response.error_comment or "").lower() if exchange.response else ""
        says = any(
            word in comment for word in ("not allowed", "not authori", "denied", "permission", "forbidden")
        )
        if exchange.status == 0x0124 or (exchange.failed and says):
            yield Hit(values=exchange_values(conversation, exchange), evidence=exchange_evidence(exchange))
            return
        if not exchange.done and conversation.aborts:
            sent = conversation.aborts[0]
            if sent.side is not exchange.side and sent.place.time - exchange.place.time < PATIENCE:
                # Orthanc aborts on a query of a device that it does not know.
                known = conversation.acceptor.product in ("Orthanc", "DCMTK")
                yield Hit(
                    values={**exchange_values(conversation, exchange), "status": "A-ABORT"},
                    evidence=(*exchange_evidence(exchange), sent.evidence("A-ABORT")),
                    confidence=Confidence.LIKELY if known else Confidence.POSSIBLE,
                )
                return
    refused = refused_contexts(conversation, 1)
    if contexts_matter(conversation) and any(one.abstract_syntax in QUERY for one in refused):
        yield Hit(
            values={**titles(conversation), "operation": "query", "status": "context refused"},
            confidence=Confidence.LIKELY,
        )


RULE = Rule(
    code="query-not-allowed",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="{called} does not allow {calling} to query or retrieve ({operation}: {status})",
    why="The device is known for storing or echo at most. Archives have a list of who may query, by AE "
    "title.",
    fix=Fix(
        requestor="Use the AE title that is entered there.",
        acceptor="Allow query and retrieve to {calling} at {requestor_address}.",
    ),
    check="Does C-ECHO succeed? Then only the permission is missing.",
    reference="PS3.7 C.5.25, PS3.4 C.4",
    detect=detect,
)
