"""The calling AE title is not known to the acceptor (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from rejection(conversation, 1, 3)


RULE = Rule(
    code="reject-calling-ae-title",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} does not know {calling}: the calling AE title is not in its list",
    why="The acceptor takes associations only from AE titles (and often addresses) that are entered there.",
    fix=Fix(
        requestor="Call itself by the AE title that is entered at {called}, letter by letter.",
        acceptor="Enter AE title {calling} with address {requestor_address} in the list of known devices.",
    ),
    check="If it is entered: compare case, spaces, and the address {requestor_address}.",
    reference="PS3.8 9.3.4",
    detect=detect,
)
