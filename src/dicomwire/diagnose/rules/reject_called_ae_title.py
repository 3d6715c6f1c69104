"""The called AE title is not the acceptor's (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    for hit in rejection(conversation, 1, 7):
        yield Hit(values={**hit.values, "known": _known(conversation)}, evidence=hit.evidence)


def _known(conversation: Conversation) -> str:
    """An AE title that the same acceptor answered to on another connection."""
    if conversation.capture is None:
        return ""
    for other in conversation.capture.same_acceptor(conversation):
        if other.accepted is not None and other.acceptor.ae_title:
            return f" ({other.acceptor.ae_title}, to which it answered on another connection)"
    return ""


RULE = Rule(
    code="reject-called-ae-title",
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="{calling} called {called}, and {acceptor_address} port {port} does not answer to that AE title",
    why="The acceptor compares the called AE title with its own, letter by letter, upper and lower case "
    "included, and rejects the association when they differ.",
    fix=Fix(
        requestor="Set the called AE title to the acceptor's own{known} instead of {called}.",
        acceptor="Add {called} to its AE titles, or switch the check of the called AE title off.",
    ),
    check="The acceptor's log names the AE title it expected; check the case and spaces within. DCMTK's "
    "dcmqrscp gives this reason for a device that its HostTable does not allow, too: is {calling} at "
    "{requestor_address} in it?",
    reference="PS3.8 9.3.4",
    detect=detect,
)
