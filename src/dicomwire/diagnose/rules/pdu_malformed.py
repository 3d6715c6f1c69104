"""A PDU whose lengths do not add up (PS3.8 9.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import faults


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from faults(conversation, "pdu-malformed")


RULE = Rule(
    code="pdu-malformed",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {sender} sends a PDU that cannot be read: {message}",
    why="The lengths within the PDU contradict each other. Some receivers abort, others read something else "
    "than was meant.",
    fix=Fix(
        requestor="If it is the sender: report the bytes to its maker.",
        acceptor="If it is the sender: report the bytes to its maker.",
    ),
    check="dicomwire decode shows the PDU item by item, up to the fault.",
    reference="PS3.8 9.3",
    detect=detect,
)
