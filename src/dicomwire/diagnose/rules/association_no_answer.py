"""The A-ASSOCIATE-RQ was not answered (PS3.8 7.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import (
    answered,
    capture_end,
    given_up,
    hidden,
    request_evidence,
    titles,
    wait_confidence,
)


def detect(conversation: Conversation) -> Iterator[Hit]:
    request = conversation.request
    if (
        request is None
        or answered(conversation)
        or hidden(conversation, Side.ACCEPTOR)
        or request.side is not Side.REQUESTOR
    ):
        return
    end = given_up(conversation)
    if end is not None and end.side is Side.ACCEPTOR:
        return
    until = end.time if end else capture_end(conversation)
    waited = until - request.place.time
    confidence = None if end else wait_confidence(conversation, request.place.time)
    if end is None and confidence is None:
        return
    yield Hit(
        values={**titles(conversation), "seconds": f"{waited:.1f}"},
        evidence=(*request_evidence(conversation), *((end.evidence,) if end else ())),
        confidence=confidence,
    )


RULE = Rule(
    code="association-no-answer",
    layer=Layer.ASSOCIATION,
    side=Side.ACCEPTOR,
    summary="{called} took the connection and did not answer the A-ASSOCIATE-RQ within {seconds} s",
    why="The operating system accepted the connection, the program did not answer: it hangs, is busy with "
    "another association, waits for a name lookup, or what listens there is no DICOM node.",
    fix=Fix(
        requestor="Check the port; wait longer if the acceptor is known to be slow.",
        acceptor="Restart the service if it hangs; look at what it waits for (DNS lookups of the client, "
        "database, other associations).",
    ),
    check="Does a C-ECHO from another machine get an answer at the same time?",
    reference="PS3.8 7.1",
    detect=detect,
)
