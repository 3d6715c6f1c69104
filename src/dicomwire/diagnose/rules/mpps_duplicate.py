"""A procedure step of this UID exists already (PS3.4 F.7.2.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import MPPS, failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits
from dicomwire.dimse.command import NCreateRq


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(
        conversation,
        (
            one
            for one in failures(conversation)
            if one.sop_class_uid == MPPS and isinstance(one.request, NCreateRq) and one.status == 0x0111
        ),
    )


RULE = Rule(
    code="mpps-duplicate",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="{calling} creates a procedure step that exists already: {status}{comment}",
    why="The N-CREATE was sent before, and the modality missed its answer or forgot it; or it uses UIDs "
    "twice.",
    fix=Fix(
        requestor="Go on with N-SET on the existing step; never use a UID twice.",
        acceptor="Delete the step if it was a trial.",
    ),
    check="Was the first N-CREATE answered in time?",
    reference="PS3.4 F.7.2.1, PS3.7 C.5.7",
    detect=detect,
)
