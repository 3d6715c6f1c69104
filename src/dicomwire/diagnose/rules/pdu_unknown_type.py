"""A PDU of a type that there is none of (PS3.8 9.3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import faults


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from faults(conversation, "pdu-unknown-type")


RULE = Rule(
    code="pdu-unknown-type",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {sender} sends something that is no PDU: {message}",
    why="Either the sender writes other bytes than PDUs into the connection, or the PDU before it was longer "
    "or shorter than its PDU-length says.",
    fix=Fix(
        requestor="If it is the sender: report the bytes to its maker.",
        acceptor="If it is the sender: report the bytes to its maker.",
    ),
    check="Look at the PDU before it: does its PDU-length fit its items?",
    reference="PS3.8 9.3.1, 9.2.3 (AA-1, AA-8)",
    detect=detect,
)
