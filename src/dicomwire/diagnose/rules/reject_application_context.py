"""The application context name is not DICOM's (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import rejection


def detect(conversation: Conversation) -> Iterator[Hit]:
    for hit in rejection(conversation, 1, 2):
        request = conversation.association_request
        name = request.application_context_name if request else ""
        yield Hit(values={**hit.values, "name": name or "none"}, evidence=hit.evidence)


RULE = Rule(
    code="reject-application-context",
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="{called} rejects the application context name ({name})",
    why="There is only one, 1.2.840.10008.3.1.1.1. A requestor that sends another one, or pads it with "
    "spaces or NULs, is rejected by strict acceptors.",
    fix=Fix(
        requestor="Report it to the maker: item 10H has to be 1.2.840.10008.3.1.1.1, without padding.",
        acceptor="Take padded names, if it can be set.",
    ),
    check="dicomwire decode shows item 10H with its length.",
    reference="PS3.7 A.2.1, PS3.8 9.3.4",
    detect=detect,
)
