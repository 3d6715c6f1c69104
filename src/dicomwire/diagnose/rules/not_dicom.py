"""What arrives is no protocol that is known here."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import spoken_at
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import OTHER, first_bytes, protocol, titles
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    for side in (Side.ACCEPTOR, Side.REQUESTOR):
        if protocol(conversation, side) is not Protocol.UNKNOWN:
            continue
        other = protocol(conversation, OTHER[side])
        known = conversation.connection.server[1] in (104, 11112) or Protocol.DICOM in spoken_at(conversation)
        if other is Protocol.DICOM or (side is Side.REQUESTOR and other is not Protocol.UNKNOWN and known):
            yield Hit(
                values={**titles(conversation), "sender": side},
                evidence=first_bytes(conversation, side),
                side=Side.REQUESTOR,
            )


RULE = Rule(
    code="not-dicom",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="what the {sender} sends on {acceptor_address} port {port} is not DICOM",
    why="The first byte of a DICOM connection is the type of a PDU, 01H to 07H. These bytes begin another "
    "protocol: a wrong port, or a program that only looks whether the port is open.",
    fix=Fix(
        requestor="Check address and port: is {port} really the peer's DICOM port?",
        acceptor="Find out which program on {acceptor_address} listens on port {port}.",
    ),
    check="The first bytes are in the evidence: they often name the program.",
    reference="PS3.8 9.3.1",
    detect=detect,
)
