"""A request was never answered (PS3.7 9.1, 10.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import unanswered
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import (
    OTHER,
    PATIENCE,
    capture_end,
    closed,
    exchange_evidence,
    exchange_values,
    given_up,
    wait_confidence,
)


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange in unanswered(conversation):
        end = given_up(conversation)
        pending = exchange.response_place if exchange.response_place and not exchange.done else None
        since = (pending or exchange.place).time
        if end is None and conversation.released:
            end = closed(conversation)
        if end is not None:
            if end.side is not exchange.side or end.time - since < PATIENCE:
                continue
            confidence = None
        else:
            confidence = wait_confidence(conversation, since)
            if confidence is None:
                continue
        waited = (end.time if end else capture_end(conversation)) - since
        values = {**exchange_values(conversation, exchange), "seconds": f"{waited:.1f}"}
        yield Hit(
            values=values,
            evidence=(*exchange_evidence(exchange), *((end.evidence,) if end else ())),
            side=OTHER[exchange.side],
            confidence=confidence,
        )
        return


RULE = Rule(
    code="dimse-no-response",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="the {answerer} did not answer the {operation} within {seconds} s, then the {asker} gave up",
    why="The association is there and the request arrived, but the application behind it does not answer: it "
    "hangs, waits for a disk or database, or lost the request.",
    fix=Fix(
        requestor="Wait longer if the operation takes long by nature (C-MOVE, commitment).",
        acceptor="Find out what the service was waiting for at that time; its log has the request.",
    ),
    check="Does a C-ECHO on its own get an answer? Then the service itself hangs, not the connection.",
    reference="PS3.7 9.1.1, 9.3",
    detect=detect,
)
