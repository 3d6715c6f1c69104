"""Faults that the proxy injects, read from TOML or JSON: which PDU of which side, and what happens to it.

[[fault]]
on = "A-ASSOCIATE-RQ"      # a PDU's name, "connect", or "*" for any PDU
action = "refuse"
result = 1
source = 1
reason = 7
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from dicomwire.diagnose.finding import Side
from dicomwire.errors import ConfigurationError
from dicomwire.upper_layer.pdu import PDU_NAMES

CONNECT: Final = "connect"
ANY_PDU: Final = "*"
MOST_FAULTS: Final = 1_000
LONGEST_DELAY: Final = 3_600.0  # seconds


class Action(StrEnum):
    """What happens to a PDU."""

    DELAY = "delay"  # it is held for `seconds`
    DROP = "drop"  # it is not passed on
    CUT = "cut"  # its first `bytes` are passed on, then both connections are closed
    RESET = "reset"  # likewise, with a TCP RST
    STALL = "stall"  # neither it nor anything behind it is passed on
    REFUSE = "refuse"  # an A-ASSOCIATE-RQ is answered with an A-ASSOCIATE-RJ, and not passed on
    REWRITE = "rewrite"  # an A-ASSOCIATE-RJ or A-ABORT gets other numbers
    MAXIMUM_LENGTH = "maximum-length"  # item 51H of an A-ASSOCIATE-RQ or -AC says `maximum_length`
    CORRUPT = "corrupt"  # the byte at `offset` is XORed with `value`


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        action: what happens.
        on: the PDU's name, `*` for any, `connect` for a connection before its first byte.
        sender: whose PDU; None for either side's.
        number: which of them, from 1, on each connection; 0 for each.
        connections: which connections, from 1; empty for all.
        seconds, bytes, result, source, reason, maximum_length, offset, value: as of the action.
    """

    action: Action
    on: str
    sender: Side | None
    number: int
    connections: frozenset[int]
    seconds: float
    bytes: int
    result: int
    source: int
    reason: int
    maximum_length: int
    offset: int
    value: int

    def hits(self, connection: int, sender: Side, name: str, count: int, total: int) -> bool:
        """Whether it is this PDU's.

        Args:
            connection: its number, from 1.
            count, total: its number among PDUs of its name, and among all, of that side; from 1.
        """
        if self.connections and connection not in self.connections:
            return False
        if self.sender not in (None, sender) or self.on not in (ANY_PDU, name):
            return False
        return self.number in (0, total if self.on == ANY_PDU else count)

    @property
    def words(self) -> str:
        """For the story."""
        numbers = f" {self.result}/{self.source}/{self.reason}"
        return {
            Action.DELAY: f"{self.on} delayed by {self.seconds:g} s",
            Action.DROP: f"{self.on} dropped",
            Action.CUT: f"connection cut after {self.bytes} bytes of {self.on}",
            Action.RESET: f"connection reset after {self.bytes} bytes of {self.on}",
            Action.STALL: f"nothing passed on from {self.on}",
            Action.REFUSE: f"{self.on} refused with{numbers}",
            Action.REWRITE: f"{self.on} rewritten to{numbers}",
            Action.MAXIMUM_LENGTH: f"maximum length of {self.on} set to {self.maximum_length}",
            Action.CORRUPT: f"byte {self.offset} of {self.on} XORed with {self.value:02X}H",
        }[self.action]


@dataclass(frozen=True, slots=True)
class Script:
    """The faults of a proxy, in the order in which they are looked at; the first that hits counts."""

    faults: tuple[Fault, ...] = ()

    def of_connection(self, connection: int) -> Fault | None:
        """The fault of a connection before its first byte."""
        for fault in self.faults:
            if fault.on == CONNECT and (not fault.connections or connection in fault.connections):
                return fault
        return None

    def of_pdu(self, connection: int, sender: Side, name: str, count: int, total: int) -> Fault | None:
        """The fault of a PDU; arguments as of `Fault.hits`."""
        return next((one for one in self.faults if one.hits(connection, sender, name, count, total)), None)


_NAMES: Final = frozenset({*PDU_NAMES.values(), ANY_PDU, CONNECT})
# Least and greatest number, and what holds where none is given.
_NUMBERS: Final[dict[str, tuple[int, int, int]]] = {
    "number": (0, 1 << 31, 1),
    "bytes": (0, 1 << 31, 0),
    "result": (0, 255, 1),
    "source": (0, 255, 1),
    "reason": (0, 255, 1),
    "maximum_length": (0, (1 << 32) - 1, 1_024),
    "offset": (0, 1 << 31, 0),
    "value": (1, 255, 0xFF),
}
_WHERE: Final[dict[Action, frozenset[str]]] = {
    Action.REFUSE: frozenset({"A-ASSOCIATE-RQ"}),
    Action.REWRITE: frozenset({"A-ASSOCIATE-RJ", "A-ABORT"}),
    Action.MAXIMUM_LENGTH: frozenset({"A-ASSOCIATE-RQ", "A-ASSOCIATE-AC"}),
}
_ON_CONNECT: Final = frozenset({Action.DELAY, Action.CUT, Action.RESET, Action.STALL})


def read(text: str, name: str) -> Script:
    """A script from its text: JSON where the name ends so, else TOML.

    Raises: ConfigurationError, which names the fault and the key.
    """
    try:
        facts = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}: {error}") from None
    rows = facts.get("fault") if isinstance(facts, dict) else None
    if not isinstance(rows, list) or set(facts) != {"fault"} or len(rows) > MOST_FAULTS:
        raise ConfigurationError(f"{name}: a script is a list of up to {MOST_FAULTS} tables named fault")
    return Script(tuple(_fault(row, f"{name}, fault {place + 1}") for place, row in enumerate(rows)))


def _fault(row: object, where: str) -> Fault:
    if not isinstance(row, Mapping):
        raise ConfigurationError(f"{where}: it is no table")
    given = {"sender" if key == "from" else key: value for key, value in row.items()}
    known = {one.name for one in fields(Fault)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigurationError(f"{where}: {', '.join(unknown)} is none of {', '.join(sorted(known))}")
    action = _action(given.get("action"), where)
    on = given.get("on", ANY_PDU)
    if on not in _NAMES:
        raise ConfigurationError(f"{where}: on {on!r} is none of {', '.join(sorted(_NAMES))}")
    allowed = _WHERE.get(action)
    if (allowed is not None and on not in allowed) or (on == CONNECT and action not in _ON_CONNECT):
        raise ConfigurationError(f"{where}: {action} is not possible on {on}")
    sender = given.get("sender")
    connections = given.get("connections", [])
    if not isinstance(connections, list) or not all(type(one) is int and one > 0 for one in connections):
        raise ConfigurationError(f"{where}: connections is a list of numbers from 1")
    seconds = given.get("seconds", 1.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_DELAY:
        raise ConfigurationError(f"{where}: seconds {seconds!r} is no number from 0 to {LONGEST_DELAY:g}")
    numbers = {key: _integer(given.get(key, row[2]), key, row[:2], where) for key, row in _NUMBERS.items()}
    return Fault(
        action=action,
        on=on,
        sender=None if sender is None else _side(sender, where),
        connections=frozenset(connections),
        seconds=seconds,
        number=numbers["number"],
        bytes=numbers["bytes"],
        result=numbers["result"],
        source=numbers["source"],
        reason=numbers["reason"],
        maximum_length=numbers["maximum_length"],
        offset=numbers["offset"],
        value=numbers["value"],
    )


def _action(value: object, where: str) -> Action:
    if not isinstance(value, str) or value not in set(Action):
        raise ConfigurationError(f"{where}: action {value!r} is none of {', '.join(Action)}")
    return Action(value)


def _side(value: object, where: str) -> Side:
    if value not in (Side.REQUESTOR, Side.ACCEPTOR):
        raise ConfigurationError(f"{where}: from {value!r} is neither requestor nor acceptor")
    return Side(str(value))


def _integer(value: object, key: str, limits: tuple[int, int], where: str) -> int:
    low, high = limits
    if type(value) is not int or not low <= value <= high:
        raise ConfigurationError(f"{where}: {key} {value!r} is no whole number from {low} to {high}")
    return value
