"""Packets or the file itself were cut."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, complete, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    cut = [(half, gap) for half in connection.halves for gap in half.gaps if gap.cut and not gap.harmless]
    error = conversation.capture.error if conversation.capture else ""
    unfinished = not connection.over and not conversation.released and not conversation.rejected
    if cut:
        _, gap = cut[0]
        yield Hit(
            values={**titles(conversation), "words": f"{gap.size} bytes of frame {gap.frame} were cut off"},
            evidence=tuple(
                Evidence(
                    what=f"{one.size} bytes are missing", time=one.time, frame=one.frame, sender=side.side
                )
                for side, one in cut[:SHOWN]
            ),
            severity=Severity.INFO if complete(conversation) else Severity.WARNING,
        )
    elif error and unfinished:
        yield Hit(values={**titles(conversation), "words": error})


RULE = Rule(
    code="capture-truncated",
    severity=Severity.WARNING,
    layer=Layer.CAPTURE,
    side=Side.NETWORK,
    summary="the capture is cut, or cannot be read: {words}",
    why="Packets were captured up to a snap length only, or the file ends within a packet, as when the "
    "capture tool was killed. What was in the missing part cannot be known.",
    fix=Fix(network="Capture whole packets (tcpdump -s 0), and stop the tool with Ctrl-C or SIGTERM."),
    check="What can be read is in the sequence of events.",
    reference="draft-ietf-opsawg-pcap 5",
    detect=detect,
)
