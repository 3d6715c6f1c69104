"""DNS answers, as far as they say that a name does not exist (RFC 1035 4.1)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple

from dicomwire.diagnose.internet import Datagram

_PORT: Final = 53
_NO_SUCH_NAME: Final = 3
_SERVER_FAILURE: Final = 2
_ADDRESSES: Final = frozenset({1, 28})  # A, AAAA


class Answer(NamedTuple):
    """What a name server said.

    Attributes:
        name: what was asked for.
        exists: it has an answer.
        words: why not.
        client, server: who asked whom.
    """

    name: str
    exists: bool
    words: str
    client: str
    server: str
    time: float
    frame: int


def read_answer(segment: Datagram, time: float, frame: int) -> Answer | None:
    """The answer to a question for an address; None where the datagram is none."""
    data = segment.data[segment.start : segment.end]
    if len(data) < 8 + 12 or int.from_bytes(data[:2], "big") != _PORT:
        return None
    flags, questions, answers = (int.from_bytes(data[at : at + 2], "big") for at in (10, 12, 14))
    if not flags & 0x8000 or questions != 1:
        return None
    labels, at = [], 20
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    kind = int.from_bytes(data[at + 1 : at + 3], "big")
    code = flags & 15
    if not labels or kind not in _ADDRESSES or (code and code not in (_NO_SUCH_NAME, _SERVER_FAILURE)):
        return None
    words = {0: "no address", _NO_SUCH_NAME: "no such name", _SERVER_FAILURE: "server failure"}[code]
    client, server = str(ip_address(segment.destination)), str(ip_address(segment.source))
    return Answer(".".join(labels), not code and bool(answers), words, client, server, time, frame)
