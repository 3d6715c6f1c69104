"""No proposed transfer syntax is supported (PS3.8 Table 9-18, result 4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import context_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from context_hits(conversation, 4)


RULE = Rule(
    code="context-transfer-syntax",
    layer=Layer.CONTEXT,
    side=Side.EITHER,
    summary="{called} supports {contexts}, but not in {syntaxes}",
    why="SOP class and transfer syntax are agreed together. The requestor offers only syntaxes that the "
    "acceptor does not take (result 4): compressed ones, often.",
    fix=Fix(
        requestor="Propose Implicit VR Little Endian too, and decompress what is sent.",
        acceptor="Take {syntaxes} for {contexts}.",
    ),
    check="Implicit VR Little Endian is the one that everybody has to support (PS3.5 10.1).",
    reference="PS3.8 Table 9-18, PS3.5 10.1",
    detect=detect,
)
