"""A PDU that may not come now (PS3.8 Table 9-10)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import faults


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from faults(conversation, "pdu-unexpected")


RULE = Rule(
    code="pdu-unexpected",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {sender} sends a PDU that may not come now: {message}",
    why="Each side may send only what the state machine of PS3.8 allows in its state. The other side has to "
    "abort the association.",
    fix=Fix(
        requestor="If it is the sender: report the sequence to its maker.",
        acceptor="If it is the sender: report the sequence to its maker.",
    ),
    check="The sequence of PDUs before it shows which step was left out or done twice.",
    reference="PS3.8 9.2.3, Table 9-10",
    detect=detect,
)
