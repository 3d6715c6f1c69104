"""A presentation context was refused by the acceptor's user (PS3.8 Table 9-18, results 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import context_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from context_hits(conversation, 1, 2)


RULE = Rule(
    code="context-refused",
    layer=Layer.CONTEXT,
    side=Side.ACCEPTOR,
    summary="{called} refuses {contexts} to {calling} ({count} of {proposed} contexts)",
    why="It knows the SOP class and does not want it here (result 1 or 2): not allowed to this device, wrong "
    "role, switched off.",
    fix=Fix(
        requestor="Check the roles it proposes (item 54H).",
        acceptor="Allow {contexts} to {calling}.",
    ),
    check="The acceptor's log has the reason.",
    reference="PS3.8 Table 9-18",
    detect=detect,
)
