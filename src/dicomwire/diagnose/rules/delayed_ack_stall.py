"""A sender waits 40 ms for each acknowledgement: Nagle meets delayed ACK (RFC 1122 4.2.3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, titles

FEWEST: Final = 3  # waits in one connection: one or two are no pattern


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    total = sum(half.stalls_total for half in connection.halves)
    if total < FEWEST:
        return
    half = max(connection.halves, key=lambda one: one.stalls_total)
    waited = sum(stall.seconds for one in connection.halves for stall in one.stalls)
    yield Hit(
        values={
            **titles(conversation),
            "times": total,
            "seconds": f"{waited:.2f}",
            "sender": half.side,
            "each": f"{1000 * half.stalls[0].seconds:.0f}",
        },
        evidence=tuple(
            Evidence(
                what=f"waited {1000 * stall.seconds:.0f} ms for an ACK", time=stall.time, frame=stall.frame
            )
            for stall in half.stalls[:SHOWN]
        ),
        side=half.side,
    )


RULE = Rule(
    code="delayed-ack-stall",
    severity=Severity.WARNING,
    layer=Layer.TCP,
    side=Side.EITHER,
    summary="transfers wait: {times} times a sender waited about {each} ms for an acknowledgement",
    why="The sender splits a message into small writes with Nagle's algorithm on, and the receiver delays "
    "its acknowledgement; each message costs 40 ms or more, whatever the network's speed.",
    fix=Fix(
        requestor="Set TCP_NODELAY, or write header and data of a message together.",
        acceptor="Set TCP_NODELAY for answers; as a receiver acknowledge at once (TCP_QUICKACK).",
    ),
    check="Compare the rate of instances a second before and after.",
    reference="RFC 1122 4.2.3.2, 4.2.3.4",
    detect=detect,
)
