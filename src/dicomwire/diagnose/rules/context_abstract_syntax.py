"""The acceptor does not support a SOP class (PS3.8 Table 9-18, result 3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import context_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from context_hits(conversation, 3)


RULE = Rule(
    code="context-abstract-syntax",
    layer=Layer.CONTEXT,
    side=Side.ACCEPTOR,
    summary="{called} does not support {contexts} ({count} of {proposed} contexts)",
    why="The acceptor does not offer this SOP class at all, or not to this device (result 3).",
    fix=Fix(
        requestor="Use a SOP class that the acceptor supports, or another destination.",
        acceptor="Switch on {contexts}, if it can be supported.",
    ),
    check="The acceptor's conformance statement lists its SOP classes.",
    reference="PS3.8 Table 9-18",
    detect=detect,
)
