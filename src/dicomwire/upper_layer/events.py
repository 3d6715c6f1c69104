"""What the Upper Layer tells its user: indications, confirmations and a peer's violations (PS3.8 7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from dicomwire.upper_layer.pdu import AssociateAc, AssociateRj, AssociateRq


@dataclass(frozen=True, slots=True)
class AssociateIndication:
    """A-ASSOCIATE indication (PS3.8 7.1).

    Attributes:
        request: the request as decoded.
        data: its PDU variable field as received (after the 6 bytes of header), for whoever memoises answers;
            it may hold credentials.
    """

    request: AssociateRq
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssociateConfirmation:
    """A-ASSOCIATE confirmation (PS3.8 7.1): the peer's answer to our request."""

    answer: AssociateAc | AssociateRj


class DataFragment(NamedTuple):
    """A presentation data value, or the part of one that has arrived (PS3.8 7.6, E.2).

    Attributes:
        presentation_context_id: as the peer sent it, accepted or not.
        control: message control header; its "last" bit counts only where `end` is true.
        data: a view into the received buffer, valid during the call only, possibly empty.
        end: this completes the value.
    """

    presentation_context_id: int
    control: int
    data: memoryview
    end: bool


@dataclass(frozen=True, slots=True)
class ReleaseIndication:
    """A-RELEASE indication (PS3.8 7.2); `collision`: we had asked for the release, too."""

    collision: bool


@dataclass(frozen=True, slots=True)
class ReleaseConfirmation:
    """A-RELEASE confirmation (PS3.8 7.2)."""


@dataclass(frozen=True, slots=True)
class AbortIndication:
    """A-ABORT or A-P-ABORT indication (PS3.8 7.3, 7.4): the association is over.

    Attributes:
        source: of the A-ABORT PDU received or sent; 2 where the connection was lost.
        reason: likewise, 0 where the connection was lost.
        provider: A-P-ABORT; false where the peer's user aborted.
    """

    source: int
    reason: int
    provider: bool


@dataclass(frozen=True, slots=True)
class TransportClose:
    """The shell must close the transport once it has written what `outgoing()` gives."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What the peer did wrong; whether it is tolerated shows in the events that follow.

    Attributes:
        message: what, where, got and wanted; enough, alone, to fix the peer.
        offset: byte of the connection, counted from 0, at which it is.
        field: name of the field in the standard's words.
        section: the clause that says so.
    """

    message: str
    offset: int
    field: str
    section: str


Event: TypeAlias = (
    AssociateIndication
    | AssociateConfirmation
    | DataFragment
    | ReleaseIndication
    | ReleaseConfirmation
    | AbortIndication
    | TransportClose
    | Violation
)
