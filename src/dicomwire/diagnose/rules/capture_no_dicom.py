"""There is no DICOM in the capture."""

from __future__ import annotations

from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Rule

RULE = Rule(
    code="capture-no-dicom",
    severity=Severity.WARNING,
    layer=Layer.CAPTURE,
    side=Side.NETWORK,
    summary="no DICOM association in {frames} frames",
    why="Nothing that begins like a DICOM association was captured: the wrong interface, machine or filter, "
    "the wrong time, or the connection is not even tried.",
    fix=Fix(
        requestor="Capture on the requestor's machine while it connects; leave out the filter at first.",
        network="Capture on the interface towards the peer, or on all of them (tcpdump -i any).",
    ),
    check="Is the peer's address among those captured?",
    reference="PS3.8 9.1",
)
