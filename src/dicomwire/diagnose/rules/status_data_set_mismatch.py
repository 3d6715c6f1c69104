"""The data set does not match the SOP class (PS3.4 B.2.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    found = [one for one in failures(conversation) if (one.status or 0) >> 8 == 0xA9]
    yield from status_hits(
        conversation, [one for one in found if one.name not in ("C-FIND", "C-MOVE", "C-GET")]
    )


RULE = Rule(
    code="status-data-set-mismatch",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="the {answerer} says that {times} data set does not match {sop_class}: {status}{comment}",
    why="SOP Class UID or SOP Instance UID in the data set differ from those of the command, or attributes "
    "that this SOP class must have are missing.",
    fix=Fix(
        requestor="Send the data set with the UIDs of its command; mend the attributes named by the "
        "offending elements.",
        acceptor="Relax the check, if the data set is fit for use.",
    ),
    check="Compare (0008,0016) and (0008,0018) of the data set with the C-STORE-RQ.",
    reference="PS3.4 B.2.3",
    detect=detect,
)
