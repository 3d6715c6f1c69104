"""An operation failed with another status (PS3.7 C)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    found = []
    for one in failures(conversation):
        code = one.status or 0
        known = code >> 8 in (0xA7, 0xA9) or code >> 12 == 0xC or code in (0x0122, 0x0124)
        if not known and not (one.name == "C-MOVE" and code == 0xA801):
            found.append(one)
    yield from status_hits(conversation, found)


RULE = Rule(
    code="status-other",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="the {answerer} ends {times} {operation} with {status}{comment}",
    why="The status says that the operation failed; what it means is in its table of the standard.",
    fix=Fix(
        requestor="Look at what was asked for, the comment and the offending elements.",
        acceptor="Its log has the reason.",
    ),
    check="Does the same operation with simpler data succeed?",
    reference="PS3.7 C",
    detect=detect,
)
