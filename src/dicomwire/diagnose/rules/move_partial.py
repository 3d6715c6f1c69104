"""Some instances were sent, others not (PS3.4 C.4.2.1.5, C.4.3.1.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange in conversation.exchanges:
        if exchange.name not in ("C-MOVE", "C-GET") or not exchange.done:
            continue
        failed, completed = exchange.count("failed"), exchange.count("completed") + exchange.count("warning")
        if failed and completed:
            yield Hit(
                values={**exchange_values(conversation, exchange), "failed": failed, "completed": completed},
                evidence=exchange_evidence(exchange),
            )
            return


RULE = Rule(
    code="move-partial",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="the {operation} sent {completed} instances and failed with {failed}",
    why="The destination took some and refused others: a SOP class or transfer syntax it does not support, a "
    "data set it cannot read, no room left in the middle.",
    fix=Fix(
        requestor="At the destination: look at the statuses of the C-STORE responses.",
        acceptor="The Failed SOP Instance UID List names those that failed; look at them.",
    ),
    check="The related stories show which C-STORE failed, and with which status.",
    reference="PS3.4 C.4.2.1.5",
    detect=detect,
)
