"""A context accepted with a transfer syntax that was not proposed (PS3.8 9.3.3.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, refused_contexts, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    foreign = [one for one in refused_contexts(conversation, 0) if one.result == 0]
    answer = conversation.answer
    if not foreign or answer is None:
        return
    words = foreign[0].words
    usable = bool(conversation.exchanges.total) and not any(one.failed for one in conversation.exchanges)
    yield Hit(
        values={**titles(conversation), "words": words, "id": foreign[0].presentation_context_id},
        evidence=tuple(answer.evidence(one.words) for one in foreign[:SHOWN]),
        severity=Severity.WARNING if usable and conversation.released else Severity.FAILURE,
    )


RULE = Rule(
    code="context-foreign-transfer-syntax",
    layer=Layer.CONTEXT,
    side=Side.ACCEPTOR,
    summary="{called} accepts presentation context {id} with a transfer syntax that was not proposed "
    "({words})",
    why="The acceptor has to choose among the proposed ones. The requestor cannot use such a context.",
    fix=Fix(
        acceptor="Report it to the maker: it answers with its own favourite instead of a proposed syntax.",
        requestor="Propose the syntax that the acceptor answers, in a context of its own.",
    ),
    check="The table of presentation contexts shows what was proposed and answered.",
    reference="PS3.8 9.3.3.2",
    detect=detect,
)
