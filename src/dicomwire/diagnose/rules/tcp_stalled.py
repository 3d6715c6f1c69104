"""A receiver that takes nothing any more: its window is closed (RFC 9293 3.8.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import given_up, titles

LONG: Final = 3.0  # seconds


def detect(conversation: Conversation) -> Iterator[Hit]:
    for half in conversation.connection.halves:
        if half.window_closed_longest < LONG:
            continue
        open_end = bool(half.window_closed) and not conversation.released
        seconds = half.window_closed_longest
        yield Hit(
            values={**titles(conversation), "receiver": half.side, "seconds": f"{seconds:.1f}"},
            evidence=(
                Evidence(
                    what=f"TCP window of 0 bytes for {seconds:.1f} s", time=half.ack_time, sender=half.side
                ),
            ),
            side=half.side,
            severity=Severity.FAILURE if open_end or given_up(conversation) else Severity.WARNING,
        )


RULE = Rule(
    code="tcp-stalled",
    layer=Layer.TCP,
    side=Side.EITHER,
    summary="the {receiver} stopped reading: its TCP window was closed for {seconds} s",
    why="Its operating system's buffer was full because the application did not read: it hangs, waits for a "
    "slow disk or database, or is stopped.",
    fix=Fix(
        requestor="If it is the receiver: look at its disk, its database and its log at that time.",
        acceptor="If it is the receiver: look at its disk, its database and its log at that time.",
    ),
    check="Compare with the receiver's log: what did it do in these {seconds} s?",
    reference="RFC 9293 3.8.6",
    detect=detect,
)
