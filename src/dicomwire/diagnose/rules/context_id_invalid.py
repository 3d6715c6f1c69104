"""Presentation context IDs that are even, zero or used twice (PS3.8 9.3.2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    request = conversation.request
    if request is None:
        return
    ids = [context.presentation_context_id for context in request.pdu.presentation_contexts]
    wrong = sorted({one for one in ids if not one & 1 or ids.count(one) > 1})
    if not wrong:
        return
    failed = not conversation.accepted or not conversation.negotiated or not conversation.negotiated.contexts
    shown = ", ".join(map(str, wrong[:8]))
    yield Hit(
        values={**titles(conversation), "ids": shown},
        evidence=(request.evidence("A-ASSOCIATE-RQ", presentation_context_ids=shown),),
        severity=Severity.FAILURE if failed and conversation.connection.ends else Severity.WARNING,
    )


RULE = Rule(
    code="context-id-invalid",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="{calling} proposes presentation contexts with IDs that may not be: {ids}",
    why="IDs are odd, from 1 to 255, each used once. Strict acceptors abort or reject, lenient ones answer.",
    fix=Fix(requestor="Report it to the maker; a version that numbers contexts 1, 3, 5 ... is needed."),
    check="More than 128 contexts in one association lead to this: split them over several associations.",
    reference="PS3.8 9.3.2.2",
    detect=detect,
)
