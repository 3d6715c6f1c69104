"""The association was rejected without a reason (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    named = {(1, 2), (1, 3), (1, 7), (2, 2), (3, 1), (3, 2)}
    rejected = conversation.rejected
    if rejected is None or (rejected.pdu.source, rejected.pdu.reason) in named:
        return
    for hit in rejection(conversation, rejected.pdu.source, rejected.pdu.reason):
        pdu = rejected.pdu
        yield Hit(
            values={**hit.values, "numbers": f"{pdu.result}/{pdu.source}/{pdu.reason}"}, evidence=hit.evidence
        )


RULE = Rule(
    code="reject-no-reason",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} rejects the association and gives no reason ({numbers})",
    why="The acceptor does not want this association and does not say why: none of the presentation "
    "contexts suits it, the device is not allowed, or it is misconfigured.",
    fix=Fix(
        requestor="Propose Verification beside the other contexts: if that is accepted, the contexts were "
        "the reason.",
        acceptor="Its log has the reason.",
    ),
    check="Try C-ECHO alone; then the same contexts with the uncompressed transfer syntaxes.",
    reference="PS3.8 9.3.4",
    detect=detect,
)
