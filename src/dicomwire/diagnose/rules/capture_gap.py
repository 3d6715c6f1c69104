"""Packets are missing in the capture."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, complete, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    gaps = [(half, gap) for half in conversation.connection.halves for gap in half.gaps]
    if not gaps or not conversation.speaks_dicom:
        return
    missing = [(half, gap) for half, gap in gaps if not gap.cut]
    harmful = [(half, gap) for half, gap in missing if not gap.harmless]
    if not missing:
        return
    hidden = bool(harmful) and not complete(conversation)
    shown = harmful or missing
    size = sum(gap.size for _, gap in missing)
    yield Hit(
        values={**titles(conversation), "times": len(missing), "size": size},
        evidence=tuple(
            Evidence(
                what=f"{gap.size} bytes are missing",
                time=gap.time,
                frame=gap.frame,
                sender=half.side,
                byte_range=(gap.offset, gap.offset + gap.size),
            )
            for half, gap in shown[:SHOWN]
        ),
        severity=Severity.WARNING if hidden else Severity.INFO,
    )


RULE = Rule(
    code="capture-gap",
    severity=Severity.WARNING,
    layer=Layer.CAPTURE,
    side=Side.NETWORK,
    summary="{times} gaps: {size} bytes that were received are not in the capture",
    why="The receiver acknowledged bytes that the capture does not have: the capturing machine was too slow, "
    "or the mirror port dropped packets. What was in them cannot be known.",
    fix=Fix(
        network="Capture on one of the two machines, with a larger buffer (tcpdump -B), or filter by address."
    ),
    check="Does the capture tool report dropped packets?",
    reference="RFC 9293 3.4",
    detect=detect,
)
