"""The Upper Layer protocol machine: bytes and time in, events, bytes and a deadline out (PS3.8 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from dicomwire.upper_layer.events import (
    AbortIndication,
    AssociateConfirmation,
    AssociateIndication,
    DataFragment,
    Event,
    ReleaseConfirmation,
    ReleaseIndication,
    TransportClose,
    Violation,
)
from dicomwire.upper_layer.pdu import (
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    Buffer,
    PData,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)

__all__ = [
    "AbortIndication",
    "AssociateConfirmation",
    "AssociateIndication",
    "DataFragment",
    "Event",
    "Policy",
    "ReleaseConfirmation",
    "ReleaseIndication",
    "Role",
    "TransportClose",
    "UpperLayer",
    "Violation",
]


class Role(IntEnum):
    """Who opened the association."""

    REQUESTOR = 0
    ACCEPTOR = 1


@dataclass(frozen=True, slots=True)
class Policy:
    artim: float = 30.0
    pdu_limit: int = 1 << 20
    maximum_length: int = 262_144


class UpperLayer:
    deadline: float | None

    def __init__(
        self, role: Role, policy: Policy = Policy(), *, trace: Callable[[object], None] | None = None
    ) -> None: ...

    def connected(self, now: float) -> None: ...

    def receive(self, data: Buffer, now: float) -> list[Event]: ...

    def closed(self, now: float) -> list[Event]: ...

    def send(
        self,
        primitive: AssociateRq | AssociateAc | AssociateRj | PData | ReleaseRq | ReleaseRp | Abort,
        now: float,
    ) -> None: ...

    def send_value(self, value: PresentationDataValue, now: float) -> None: ...

    def outgoing(self) -> list[Buffer]: ...

    def expire(self, now: float) -> list[Event]: ...
