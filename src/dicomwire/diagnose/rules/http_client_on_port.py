"""An HTTP client talks to a DICOM port."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import wrong_protocol
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import first_bytes, titles
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from wrong_protocol(conversation, Side.REQUESTOR, Protocol.HTTP)
    if b"DICOM port" in conversation.acceptor_ear.first:  # told so in HTTP, as dicomwire does
        yield Hit(values=titles(conversation), evidence=first_bytes(conversation, Side.ACCEPTOR))


RULE = Rule(
    code="http-client-on-port",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="{requestor_address} speaks HTTP to {acceptor_address} port {port}, which speaks DICOM",
    why="A browser, a DICOMweb client or a health check was given the DIMSE port.",
    fix=Fix(
        requestor="Use the peer's HTTP port for DICOMweb and pages; check health with a TCP connect or "
        "C-ECHO.",
        acceptor="Tell which port is for HTTP.",
    ),
    check="The request's first line says which program it is.",
    reference="PS3.18 8.1",
    detect=detect,
)
