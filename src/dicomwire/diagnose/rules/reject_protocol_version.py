"""The Upper Layer's protocol version is not supported (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    for hit in rejection(conversation, 2, 2):
        request = conversation.association_request
        version = request.protocol_version if request else 0
        yield Hit(values={**hit.values, "version": f"{version:04X}H"}, evidence=hit.evidence)


RULE = Rule(
    code="reject-protocol-version",
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="{called} rejects the protocol version {version}",
    why="Version 1 is bit 0 of the Protocol-version field; there is no other version.",
    fix=Fix(requestor="Report it to the maker: Protocol-version has to be 0001H."),
    check="Does a C-ECHO from another program succeed?",
    reference="PS3.8 9.3.2, 9.3.4",
    detect=detect,
)
