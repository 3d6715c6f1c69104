"""Data in a presentation context that was not accepted (PS3.8 9.3.5.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.facts import evidence
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import OTHER, given_up, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    for (side, id), place in list(conversation.unknown_contexts.items())[:1]:
        end = given_up(conversation)
        punished = end is not None and end.side is OTHER[side]
        unanswered = any(one.presentation_context_id == id for one in conversation.exchanges.outstanding)
        yield Hit(
            values={**titles(conversation), "sender": side, "id": id},
            evidence=(evidence(f"presentation data value of context {id}", side, place),),
            side=side,
            severity=Severity.FAILURE if punished or unanswered else Severity.WARNING,
        )


RULE = Rule(
    code="context-id-unknown",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {sender} sends data in presentation context {id}, which was not accepted",
    why="Only contexts that the acceptor answered with result 0 may be used. The sender did not look at the "
    "answer, or mixed up its contexts.",
    fix=Fix(
        requestor="If it is the sender: report it to its maker; meanwhile let the acceptor take that "
        "context.",
        acceptor="Accept what is proposed in context {id}, if it can be supported.",
    ),
    check="The table of presentation contexts shows what context {id} was, and why it was refused.",
    reference="PS3.8 9.3.5.1, 7.6",
    detect=detect,
)
