"""A procedure step that is completed or discontinued cannot be changed (PS3.4 F.7.2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.data_set import PERFORMED_PROCEDURE_STEP_STATUS
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.operations import MPPS, failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values
from dicomwire.dimse.command import NSetRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange in failures(conversation):
        if (
            exchange.sop_class_uid != MPPS
            or not isinstance(exchange.request, NSetRq)
            or exchange.status != 0x0110
        ):
            continue
        error = exchange.response.error_id if exchange.response else None
        final = any(
            other is not exchange
            and other.sop_instance_uid == exchange.sop_instance_uid
            and isinstance(other.request, NSetRq)
            and other.status == 0
            and other.place.time < exchange.place.time
            and other.data_set is not None
            and other.data_set.text(PERFORMED_PROCEDURE_STEP_STATUS) in ("COMPLETED", "DISCONTINUED")
            for one in (conversation.capture.conversations if conversation.capture else [conversation])
            for other in one.exchanges
        )
        yield Hit(
            values=exchange_values(conversation, exchange),
            evidence=exchange_evidence(exchange),
            # PS3.4 Table F.7.2-2 knows 0110H for this alone, though other errors hide behind it, too.
            confidence=None if error == 0xA710 or final else Confidence.LIKELY,
        )
        return


RULE = Rule(
    code="mpps-final",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="{calling} changes a procedure step that is already completed or discontinued: {status}{comment}",
    why="After COMPLETED or DISCONTINUED a Modality Performed Procedure Step may not be changed any more. "
    "The modality sent its final N-SET twice, or reopened the examination.",
    fix=Fix(
        requestor="Send nothing after the final N-SET; create a new step for further images.",
        acceptor="Some systems can be told to reopen steps.",
    ),
    check="The N-SET before it has the final status.",
    reference="PS3.4 F.7.2.2.2",
    detect=detect,
)
