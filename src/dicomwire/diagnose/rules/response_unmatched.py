"""A response that belongs to no request (PS3.7 9.1, 10.1: Message ID Being Responded To, Command Field)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.facts import evidence
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import OTHER, hidden, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    exchanges = conversation.exchanges
    unmatched = [one for one in exchanges.unmatched if not hidden(conversation, OTHER[one.side])]
    if not unmatched or conversation.begins_late:
        return
    first = unmatched[0]
    message_id = first.response.message_id_being_responded_to
    yield Hit(
        values={
            **titles(conversation),
            "answerer": first.side,
            "response": first.response.name,
            "message_id": message_id,
            "asked": f"was a {first.asked}" if first.asked else "nobody sent",
        },
        evidence=tuple(
            evidence(
                f"{one.response.name} to {one.response.message_id_being_responded_to}", one.side, one.place
            )
            for one in unmatched
        ),
        side=first.side,
        severity=Severity.FAILURE if exchanges.outstanding else Severity.WARNING,
    )


RULE = Rule(
    code="response-unmatched",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="the {answerer} answers with a {response} to message {message_id}, which {asked}",
    why="A response names the message that it answers, and is of the same service. Who asked still waits for "
    "the answer to its own message, and gives up in the end.",
    fix=Fix(
        requestor="If it answered so: report it to the maker.",
        acceptor="If it answered so: report it to the maker; it mixes up messages or associations.",
    ),
    check="Does it happen with one operation at a time, too, or only with several outstanding?",
    reference="PS3.7 9.1, 10.1",
    detect=detect,
)
