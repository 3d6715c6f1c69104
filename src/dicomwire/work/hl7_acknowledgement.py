"""Acknowledgements of HL7 v2 messages, in original and in enhanced mode (HL7 v2.5.1 2.9, 2.15).

In original mode (MSH-15 and MSH-16 are empty) each message has one answer: AA, AE or AR. In enhanced mode its
sender says whether it wants to hear that the message is safe (CA, CE, CR), and that it is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from dicomwire.work.hl7_message import Header, Rejected

ORDER_REPLIES: Final[Mapping[str, str]] = {
    "ORM": "ORR^O02",
    "OMG": "ORG^O20^ORG_O20",
    "OMI": "ORI^O24^ORI_O24",
}
"""Application replies that HL7 has for orders (v2.5.1 4.4.2-4.4.11); ACK stands for each of them."""

_WANTED: Final[Mapping[str, frozenset[bool]]] = {
    "AL": frozenset({True, False}),
    "SU": frozenset({True}),
    "ER": frozenset({False}),
}
"""Table 0155: whether what succeeded, and what failed, is to be acknowledged; anything else is never."""
_ERL: Final = (2, 5)  # the version from which ERR has a location of its own


def acknowledgements(
    header: Header, rejected: Rejected | None, *, now: float, order_reply: bool = False
) -> list[bytes]:
    """What a message is answered with, in order; nothing where its sender wants none.

    rejected: why it is not carried out.
    order_reply: reply by the message that HL7 has for the order, not by a general ACK.
    """
    answer = ORDER_REPLIES.get(header.kind) if order_reply else None
    if not (header.accept or header.application):
        code = rejected.code if rejected is not None else "AA"
        return [_written(header, code, rejected, answer, now)]
    replies = []
    useless = rejected is not None and rejected.code == "AR"
    told_later = not useless and (rejected is None) in _WANTED.get(header.application, ())
    accepted = rejected is None or told_later
    if accepted in _WANTED.get(header.accept, ()):
        code = "CA" if accepted else "CR" if useless else "CE"
        replies.append(_written(header, code, None if accepted else rejected, None, now))
    if told_later:
        code = rejected.code if rejected is not None else "AA"
        replies.append(_written(header, code, rejected, answer, now))
    return replies


def _written(header: Header, code: str, rejected: Rejected | None, answer: str | None, now: float) -> bytes:
    words = _plain(rejected.words if rejected is not None else "")
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M%S+0000")
    kind = answer or (f"ACK^{_plain(header.trigger)}^ACK" if header.trigger else "ACK")
    receiver, sender = ("|".join(map(_plain, each)) for each in (header.receiver, header.sender))
    control = _plain(header.control_id)
    mark = "C" if code.startswith("C") else "A"  # two answers to one message have two control IDs
    version = _plain(header.version) or "2.5.1"
    segments = [
        f"MSH|^~\\&|{receiver}|{sender}|{moment}||{kind}|{mark}{control}|P|{version}",
        f"MSA|{code}|{control}|{words}",
    ]
    if rejected is not None:
        segments.append(_error(rejected, words, version))
    return "".join(f"{segment}\r" for segment in segments).encode("ascii", "replace")


def _error(rejected: Rejected, words: str, version: str) -> str:
    """An ERR segment as the version has it."""
    segment, _, number = rejected.location.partition("-")
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    if tuple(numbers) < _ERL:
        return f"ERR|{segment}^1^{number}^{rejected.error}&{words}&HL70357"
    where = f"{segment}^1^{number}" if number else segment
    return f"ERR||{where}|{rejected.error}^^HL70357|E||||{words}"


def _plain(text: str) -> str:
    """Text that cannot be taken for anything else in a message."""
    return "".join(c for c in text if c not in "|^~\\&\r\n\x0b\x1c")
