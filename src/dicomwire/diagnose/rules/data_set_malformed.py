"""A data set that cannot be read (PS3.5 7)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import data_set_faults
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from data_set_faults(conversation, "data-set-malformed")


RULE = Rule(
    code="data-set-malformed",
    layer=Layer.DATA_SET,
    side=Side.REQUESTOR,
    summary="the {asker} sends a data set that cannot be read: {message}",
    why="The lengths of its elements do not add up with the bytes that were sent: it was cut, written by a "
    "faulty encoder, or is a file with its meta information.",
    fix=Fix(
        requestor="Check the file with a validator (dciodvfy, dcmdump); send the data set without file meta.",
        acceptor="Keep the object aside if it has to be taken nevertheless.",
    ),
    check="Does the stored file read to its end with dcmdump?",
    reference="PS3.5 7",
    detect=detect,
)
