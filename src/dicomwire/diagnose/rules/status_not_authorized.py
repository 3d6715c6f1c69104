"""Refused: not authorized (PS3.7 C.5.25)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failures
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import status_hits


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from status_hits(conversation, (one for one in failures(conversation) if one.status == 0x0124))


RULE = Rule(
    code="status-not-authorized",
    layer=Layer.DIMSE,
    side=Side.ACCEPTOR,
    summary="the {answerer} does not allow this {operation}: {status}{comment}",
    why="The association was accepted, this operation is not allowed to this device or user.",
    fix=Fix(
        requestor="Log in as a user who may, or use the AE title that may.",
        acceptor="Allow {operation} to {calling}.",
    ),
    check="The acceptor's list of permissions for {calling}.",
    reference="PS3.7 C.5.25",
    detect=detect,
)
