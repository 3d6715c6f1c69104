"""The query found nothing (PS3.4 C.4.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.operations import QUERY
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation,
        (
            one
            for one in conversation.exchanges
            if one.sop_class_uid in QUERY
            and one.status == 0
            and not one.matches
            and not one.pending
            and not (one.count("completed") or one.count("failed") or one.count("warning"))
        ),
    )


RULE = Rule(
    code="no-match",
    severity=Severity.INFO,
    layer=Layer.APPLICATION,
    side=Side.EITHER,
    summary="the {operation} succeeded and found nothing",
    why="No object has the values that were asked for. Matching is exact, case and padding included, where "
    "there is no wild card.",
    fix=Fix(
        requestor="Ask for less: one key at a time shows which one does not match.",
        acceptor="Check that the objects have arrived, and in this archive.",
    ),
    check="Ask for the same with a wild card, or by patient ID only.",
    reference="PS3.4 C.4.1, C.2.2.2",
    detect=detect,
)
