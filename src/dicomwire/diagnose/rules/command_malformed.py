"""A command set that cannot be read (PS3.7 6.3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import faults


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from faults(conversation, "command-malformed")


RULE = Rule(
    code="command-malformed",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="the {sender} sends a command that cannot be read: {message}",
    why="Command sets are Implicit VR Little Endian, whatever the transfer syntax; fragments of one message "
    "come before those of the next.",
    fix=Fix(
        requestor="If it is the sender: report the bytes to its maker.",
        acceptor="If it is the sender: report the bytes to its maker.",
    ),
    check="dicomwire decode shows the command set element by element.",
    reference="PS3.7 6.3.1",
    detect=detect,
)
