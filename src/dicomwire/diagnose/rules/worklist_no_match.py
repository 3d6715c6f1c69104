"""The worklist is empty for this query (PS3.4 K.4.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.operations import WORKLIST
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation,
        (
            one
            for one in conversation.exchanges
            if one.sop_class_uid in WORKLIST and one.status == 0 and not one.pending
        ),
    )


RULE = Rule(
    code="worklist-no-match",
    severity=Severity.INFO,
    layer=Layer.APPLICATION,
    side=Side.EITHER,
    summary="the worklist has no entry for what {calling} asks for",
    why="Modalities ask for their own AE title, modality and date. Entries of another station, modality, "
    "date or status do not match, nor do those that the HIS has not sent yet.",
    fix=Fix(
        requestor="Check the Scheduled Station AE Title, the modality and the dates it asks for.",
        acceptor="Check that the order has arrived, and for which station, modality and date.",
    ),
    check="Ask without station and date: does the entry appear?",
    reference="PS3.4 K.4.1",
    detect=detect,
)
