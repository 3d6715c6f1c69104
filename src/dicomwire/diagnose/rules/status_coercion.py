"""Stored, but elements were changed or left out (PS3.4 B.2.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation,
        (one for one in conversation.exchanges if one.name == "C-STORE" and (one.status or 0) >> 12 == 0xB),
    )


RULE = Rule(
    code="status-coercion",
    severity=Severity.WARNING,
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="{times} instance was stored with a warning: {status}{comment}",
    why="The acceptor stored the instance and changed, discarded or doubted elements of it: it coerced the "
    "patient's data to its own records, or the data set does not fit its SOP class.",
    fix=Fix(
        requestor="Compare the elements named with the patient's record.",
        acceptor="Check the rules by which it changes elements.",
    ),
    check="Retrieve the instance and compare it with what was sent.",
    reference="PS3.4 B.2.3",
    detect=detect,
)
