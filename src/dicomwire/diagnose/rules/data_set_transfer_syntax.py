"""A data set that is not written in the agreed transfer syntax (PS3.5 10)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import data_set_faults
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from data_set_faults(conversation, "data-set-transfer-syntax")


RULE = Rule(
    code="data-set-transfer-syntax",
    layer=Layer.DATA_SET,
    side=Side.REQUESTOR,
    summary="the {asker} sends a data set that is not in the agreed transfer syntax: {message}",
    why="The receiver reads the data set by the transfer syntax of its presentation context. The sender sent "
    "the stored bytes without converting them, or mixed up its contexts.",
    fix=Fix(
        requestor="Send each object in a context of its own transfer syntax, or convert it.",
        acceptor="Offer the transfer syntax in which the object is stored.",
    ),
    check="What is the transfer syntax in the file's meta information, and what was accepted?",
    reference="PS3.5 10, PS3.8 9.3.2.2",
    detect=detect,
)
