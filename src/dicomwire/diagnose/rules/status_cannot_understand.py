"""The data set or identifier cannot be understood (PS3.4 B.2.3, C.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation, (one for one in failures(conversation) if (one.status or 0) >> 12 == 0xC)
    )


RULE = Rule(
    code="status-cannot-understand",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="the {answerer} could not process {times} {operation}: {status}{comment}",
    why="It could not read or handle what it got: an attribute missing or not valid, an encoding it does not "
    "know, or an error of its own. The digits behind C are the maker's.",
    fix=Fix(
        requestor="Look at the attributes named by the comment and the offending elements.",
        acceptor="Its log has the reason; the maker's documentation explains the code.",
    ),
    check="Send or ask for something simple: does that succeed?",
    reference="PS3.4 B.2.3, C.4.1.1.4",
    detect=detect,
)
