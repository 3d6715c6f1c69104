"""A command set without a Command Field (PS3.7 E.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import faults


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from faults(conversation, "command-field-missing")


RULE = Rule(
    code="command-field-missing",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="the {sender} sends a command without a known Command Field (0000,0100): {message}",
    why="Without it nobody can tell which operation is meant; the receiver has to abort.",
    fix=Fix(
        requestor="If it is the sender: report the bytes to its maker.",
        acceptor="If it is the sender: report the bytes to its maker.",
    ),
    check="Was a data set sent with the control header of a command?",
    reference="PS3.7 E.1",
    detect=detect,
)
