"""HL7 version 2 on a DICOM port, or DICOM on an HL7 port."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import wrong_protocol
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from wrong_protocol(conversation, Side.REQUESTOR, Protocol.HL7)
    yield from wrong_protocol(conversation, Side.ACCEPTOR, Protocol.HL7)


RULE = Rule(
    code="hl7-on-port",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="the {sender} speaks HL7 (MLLP) on {acceptor_address} port {port}, the other side speaks DICOM",
    why="The ports of the HL7 interface and of the DICOM service were mixed up.",
    fix=Fix(
        requestor="Enter the other port: HL7 and DICOM are never on the same one.",
        acceptor="Tell which port is for HL7 and which for DICOM.",
    ),
    check="The interface engine's list of destinations names its ports.",
    reference="PS3.8 9.1",
    detect=detect,
)
