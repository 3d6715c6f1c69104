"""The port belongs to SSH."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import wrong_protocol
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from wrong_protocol(conversation, Side.ACCEPTOR, Protocol.SSH)
    yield from wrong_protocol(conversation, Side.REQUESTOR, Protocol.SSH)


RULE = Rule(
    code="ssh-on-port",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="the {sender} speaks SSH on {acceptor_address} port {port}, not DICOM",
    why="The port is that of an SSH server (or an SSH client was pointed at a DICOM port).",
    fix=Fix(
        requestor="Enter the peer's DIMSE port (often 104 or 11112) instead of {port}.",
        acceptor="Tell which port is for DICOM.",
    ),
    check="The first line of the SSH server names the machine's software.",
    reference="PS3.8 9.1",
    detect=detect,
)
