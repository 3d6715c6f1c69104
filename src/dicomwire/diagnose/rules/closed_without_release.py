"""The connection was closed without releasing the association (PS3.8 7.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import closed, first_abort, hidden, titles
from dicomwire.upper_layer.pdu import ReleaseRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    if conversation.accepted is None or conversation.released or first_abort(conversation):
        return
    end = closed(conversation)
    if end is None or end.how != "FIN":
        return
    outstanding = conversation.exchanges.outstanding
    if any(one.side is not end.side for one in outstanding):
        return  # it owed an answer, which is another cause
    if hidden(conversation, Side.REQUESTOR) or hidden(conversation, Side.ACCEPTOR):
        return
    yield Hit(
        values={
            **titles(conversation),
            "closer": end.side,
            "asked": _too_early(conversation, bool(outstanding)),
        },
        evidence=(end.evidence,),
        side=end.side,
        severity=Severity.WARNING if conversation.exchanges.total and not outstanding else Severity.FAILURE,
    )


def _too_early(conversation: Conversation, outstanding: bool) -> str:
    if outstanding:
        return "without waiting for the answer to what it asked"
    if any(isinstance(sent.pdu, ReleaseRq) for sent in conversation.releases):
        return "before its request for the release was answered"
    return "without asking for a release"


RULE = Rule(
    code="closed-without-release",
    severity=Severity.WARNING,
    layer=Layer.ASSOCIATION,
    side=Side.EITHER,
    summary="the {closer} closed the connection {asked}",
    why="An association ends with A-RELEASE or A-ABORT. What was answered before is done; whether more was "
    "to come cannot be told: the program may have crashed, or simply be careless.",
    fix=Fix(
        requestor="Release associations before the connection is closed.",
        acceptor="If it closed: look at its log at that time for a crash or a limit.",
    ),
    check="Does its log show the end of the transfer?",
    reference="PS3.8 7.2, 9.2.3 (AA-4)",
    detect=detect,
)
