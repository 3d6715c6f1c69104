"""The requestor aborted the association (PS3.8 9.3.8)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import first_abort, titles
from dicomwire.upper_layer.pdu import ReleaseRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    sent = first_abort(conversation)
    if sent is None or sent.side is not Side.REQUESTOR:
        return
    pdu = sent.pdu
    yield Hit(
        values={**titles(conversation), "numbers": f"{pdu.source}/{pdu.reason}", "when": _when(conversation)},
        evidence=(sent.evidence("A-ABORT", source=pdu.source, reason=pdu.reason),),
        side=Side.ACCEPTOR if _asked_for_release(conversation) else None,
    )


def _asked_for_release(conversation: Conversation) -> bool:
    """The A-RELEASE-RQ that came before it was not answered."""
    return any(
        isinstance(sent.pdu, ReleaseRq) and sent.side is Side.REQUESTOR for sent in conversation.releases
    )


def _when(conversation: Conversation) -> str:
    if _asked_for_release(conversation):
        return "since its A-RELEASE-RQ was not answered"
    if (
        conversation.accepted is not None
        and not conversation.exchanges.total
        and not conversation.begins_late
    ):
        return "before it asked for anything"
    return "instead of releasing it"


RULE = Rule(
    code="abort-by-requestor",
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="{calling} aborted the association ({numbers}) {when}",
    why="A requestor aborts when its user cancels, when it does not like an answer, or when it is badly "
    "written; before it asked for anything, when no accepted presentation context suits what it has to send. "
    "What was answered before is done.",
    fix=Fix(
        requestor="Look at its log at that time; it should release associations in order.",
        acceptor="Look at what it answered last; it has to answer an A-RELEASE-RQ with an A-RELEASE-RP.",
    ),
    check="The last messages before the abort show what was not to its liking. Was the transfer syntax of "
    "what it has to send proposed, and accepted?",
    reference="PS3.8 7.3, 9.3.8",
    detect=detect,
)
