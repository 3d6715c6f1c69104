"""The identifier does not match the SOP class (PS3.4 C.4.1.1.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation,
        (
            one
            for one in failures(conversation)
            if (one.status or 0) >> 8 == 0xA9 and one.name in ("C-FIND", "C-MOVE", "C-GET")
        ),
    )


RULE = Rule(
    code="find-identifier-mismatch",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="the {answerer} says that the identifier of the {operation} does not match {sop_class}: "
    "{status}{comment}",
    why="A level that this information model does not have, a unique key of a higher level missing, or keys "
    "of another level.",
    fix=Fix(
        requestor="Give the unique keys of all levels above the one asked for (Study Instance UID for "
        "SERIES).",
        acceptor="Support relational queries, if the requestor needs them.",
    ),
    check="Study Root knows STUDY, SERIES and IMAGE; Patient Root PATIENT too.",
    reference="PS3.4 C.4.1.1.4, C.4.1.2",
    detect=detect,
)
