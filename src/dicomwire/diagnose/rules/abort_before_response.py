"""The association was aborted instead of a response (PS3.8 9.3.8; PS3.7 9.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values, first_abort


def detect(conversation: Conversation) -> Iterator[Hit]:
    sent = first_abort(conversation)
    if sent is None:
        return
    owed = [
        one
        for one in conversation.exchanges.outstanding
        if one.side is not sent.side and one.began.time <= sent.place.time
    ]
    if not owed:
        return
    exchange = owed[0]
    pdu = sent.pdu
    yield Hit(
        values={**exchange_values(conversation, exchange), "numbers": f"{pdu.source}/{pdu.reason}"},
        evidence=(
            *exchange_evidence(exchange),
            sent.evidence("A-ABORT", source=pdu.source, reason=pdu.reason),
        ),
        side=sent.side,
    )


RULE = Rule(
    code="abort-before-response",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="the {answerer} aborted the association ({numbers}) instead of answering the {operation}",
    why="It could not or would not handle this {operation} ({sop_class}): it does not allow it to this "
    "device, cannot read the data set, or crashed over it.",
    fix=Fix(
        requestor="Try the same operation with another data set or query, to see what it does not like.",
        acceptor="Its log at that time has the reason.",
    ),
    check="Does every {operation} end like this, or only some?",
    reference="PS3.8 7.3, 9.3.8",
    detect=detect,
)
