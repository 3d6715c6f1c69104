"""A command set without one of the elements that it must have (PS3.7 E.1)."""

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
    summary="the {sender} sends a command that lacks what it must have: {message}",
    why="Without a Command Field nobody can tell which operation is meant, without the other elements nobody "
    "can do or answer it; most receivers abort.",
    fix=Fix(
        requestor="If it is the sender: report the bytes to its maker.",
        acceptor="If it is the sender: report the bytes to its maker.",
    ),
    check="Was a data set sent with the control header of a command?",
    reference="PS3.7 E.1",
    detect=detect,
)
