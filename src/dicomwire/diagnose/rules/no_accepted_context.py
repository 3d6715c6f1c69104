"""The association has no accepted presentation context (PS3.8 9.3.3.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    negotiated, answer = conversation.negotiated, conversation.answer
    if negotiated is None or answer is None or negotiated.contexts:
        return
    yield Hit(
        values={**titles(conversation), "count": len(negotiated.outcomes)},
        evidence=tuple(answer.evidence(outcome.words) for outcome in negotiated.outcomes[:SHOWN]),
    )


RULE = Rule(
    code="no-accepted-context",
    layer=Layer.CONTEXT,
    side=Side.EITHER,
    summary="{called} accepted the association, and none of its {count} presentation contexts",
    why="The association is there, and nothing can be done on it: each context was refused on its own.",
    fix=Fix(
        requestor="Propose what the acceptor supports; see the table of contexts.",
        acceptor="Support what is proposed; see the table of contexts.",
    ),
    check="Each refused context has its own reason.",
    reference="PS3.8 9.3.3.2",
    detect=detect,
)
