"""The operation was cancelled on request (PS3.7 9.3.2.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits
from dicomwire.dimse.status import StatusClass


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation,
        (one for one in conversation.exchanges if one.cancelled or one.status_class is StatusClass.CANCEL),
    )


RULE = Rule(
    code="cancelled",
    severity=Severity.INFO,
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="{calling} cancelled the {operation}",
    why="The requestor sent a C-CANCEL-RQ: a user stopped it, or it had enough matches.",
    fix=Fix(requestor="Narrow the query if it is cancelled because there are too many matches."),
    check="Was it a person or a limit?",
    reference="PS3.7 9.3.2.3",
    detect=detect,
)
