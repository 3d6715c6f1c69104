"""The port answers in HTTP: a web server, not a DICOM node."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import wrong_protocol
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from wrong_protocol(conversation, Side.ACCEPTOR, Protocol.HTTP)


RULE = Rule(
    code="http-server-on-port",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="{acceptor_address} port {port} is a web server: it answers in HTTP, not in DICOM",
    why="The DICOM client was given the port of the peer's web pages or of its DICOMweb service. A web "
    "server waits for a request line and answers 400, or nothing at all, to an A-ASSOCIATE-RQ.",
    fix=Fix(
        requestor="Enter the peer's DIMSE port (often 104 or 11112) instead of {port}.",
        acceptor="Tell which port is for DICOM (DIMSE) and which for HTTP.",
    ),
    check="Open http://{acceptor_address}:{port}/ in a browser; the peer's conformance statement names its "
    "ports.",
    reference="PS3.8 9.1",
    detect=detect,
)
