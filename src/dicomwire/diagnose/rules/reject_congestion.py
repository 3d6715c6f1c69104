"""The acceptor is congested for the moment (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from rejection(conversation, 3, 1)


RULE = Rule(
    code="reject-congestion",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} is congested and takes no association now",
    why="The acceptor cannot serve another association at the moment.",
    fix=Fix(
        requestor="Try again after a while, at growing intervals.",
        acceptor="Find out what keeps it busy: disk, database, too many associations at once.",
    ),
    check="Does it happen at certain times of the day?",
    reference="PS3.8 9.3.4",
    detect=detect,
)
