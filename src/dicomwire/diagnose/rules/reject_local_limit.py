"""The acceptor has reached a limit of its own (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from rejection(conversation, 3, 2)


RULE = Rule(
    code="reject-local-limit",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} takes no more associations: a limit of its own is exceeded",
    why="The acceptor allows only so many associations at the same time, in all or for each device.",
    fix=Fix(
        requestor="Open fewer associations at the same time; try again later; release what is idle.",
        acceptor="Raise the limit of associations; look for associations that are never released.",
    ),
    check="How many associations are open at {called} at that time, and from whom?",
    reference="PS3.8 9.3.4",
    detect=detect,
)
