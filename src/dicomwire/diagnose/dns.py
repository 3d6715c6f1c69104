"""DNS, as far as it says that a name does not exist, or nothing at all (RFC 1035 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, NamedTuple

from dicomwire.diagnose.internet import Datagram

NAMES: Final = 200  # lookups remembered of one capture

_PORT: Final = 53
_HEADERS: Final = 8 + 12  # bytes of UDP's and DNS's
_RESPONSE: Final = 0x8000
_ADDRESSES: Final = frozenset({1, 28})  # A, AAAA
_WORDS: Final = {0: "no address", 2: "server failure", 3: "no such name", 5: "refused"}


class Lookup(NamedTuple):
    """A name that was looked up in vain.

    Attributes:
        name: what was asked for.
        words: why there is no address.
        answered: the name server said so; else it said nothing.
        client, server: who asked whom.
        times: how often it was asked.
        time, frame: of the answer; where there is none, of the last question.
    """

    name: str
    words: str
    answered: bool
    client: str
    server: str
    times: int
    time: float
    frame: int


@dataclass(slots=True)
class Lookups:
    """The names that a capture's machines look up."""

    _found: set[tuple[str, str]] = field(default_factory=set)
    _vain: dict[tuple[str, str], Lookup] = field(default_factory=dict)

    def heard(self, datagram: Datagram, time: float, frame: int) -> None:
        """A question for an address, or its answer; anything else is of no interest."""
        data = datagram.data[datagram.start : datagram.end]
        ports = (int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"))
        if len(data) < _HEADERS or _PORT not in ports:
            return
        flags, questions, answers = (int.from_bytes(data[at : at + 2], "big") for at in (10, 12, 14))
        name = _name(data)
        if questions != 1 or not name:
            return
        source, destination = str(ip_address(datagram.source)), str(ip_address(datagram.destination))
        code = flags & 15
        if not flags & _RESPONSE:
            self._keep(
                Lookup(name, "the name server does not answer", False, source, destination, 1, time, frame)
            )
        elif not code and answers:
            self._found.add((destination, name))
        elif code in _WORDS:
            self._keep(Lookup(name, _WORDS[code], True, destination, source, 0, time, frame))

    def _keep(self, lookup: Lookup) -> None:
        key = (lookup.client, lookup.name)
        before = self._vain.get(key)
        if before is None:
            if len(self._vain) < NAMES:
                self._vain[key] = lookup
            return
        best = before if before.answered and not lookup.answered else lookup
        self._vain[key] = best._replace(times=before.times + lookup.times)

    def in_vain(self) -> list[Lookup]:
        """Those that found nothing, in the order in which they began."""
        return [lookup for key, lookup in self._vain.items() if key not in self._found]


def _name(data: bytes) -> str:
    """The name whose address is asked for; "" where the question is another one."""
    labels, at = [], _HEADERS
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    kind = int.from_bytes(data[at + 1 : at + 3], "big")
    return ".".join(labels) if kind in _ADDRESSES else ""
