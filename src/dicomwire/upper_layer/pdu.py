"""A-ASSOCIATE, P-DATA, A-RELEASE and A-ABORT PDUs (PS3.8 9.3.2-9.3.8).

Values only: one class per PDU, and the same class is the primitive that asks for it to be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from dicomwire.uids import APPLICATION_CONTEXT
from dicomwire.upper_layer.items import ContextResult, ProposedContext, UnknownItem, UserItem

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER_LENGTH: Final = 6  # bytes: PDU-type, reserved, PDU-length


class PduType(IntEnum):
    """First byte of a PDU."""

    A_ASSOCIATE_RQ = 0x01
    A_ASSOCIATE_AC = 0x02
    A_ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_RELEASE_RP = 0x06
    A_ABORT = 0x07


PDU_NAMES: Final = {
    PduType.A_ASSOCIATE_RQ: "A-ASSOCIATE-RQ",
    PduType.A_ASSOCIATE_AC: "A-ASSOCIATE-AC",
    PduType.A_ASSOCIATE_RJ: "A-ASSOCIATE-RJ",
    PduType.P_DATA_TF: "P-DATA-TF",
    PduType.A_RELEASE_RQ: "A-RELEASE-RQ",
    PduType.A_RELEASE_RP: "A-RELEASE-RP",
    PduType.A_ABORT: "A-ABORT",
}


@dataclass(frozen=True, slots=True)
class AssociateRq:
    """A-ASSOCIATE-RQ PDU (PS3.8 9.3.2).

    Attributes:
        called_ae_title: who is meant, without the spaces and NULs around it.
        calling_ae_title: who asks, likewise.
        presentation_contexts: in the order of the PDU.
        user_information: sub-items in the order of the PDU, unknown ones among them.
        application_context_name: UID, "" where the PDU had no such item.
        protocol_version: bit field; bit 0 is version 1.
        unknown_items: items of the PDU other than 10H, 20H and 50H.
    """

    called_ae_title: str
    calling_ae_title: str
    presentation_contexts: tuple[ProposedContext, ...]
    user_information: tuple[UserItem, ...]
    application_context_name: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    unknown_items: tuple[UnknownItem, ...] = ()


@dataclass(frozen=True, slots=True)
class AssociateAc:
    """A-ASSOCIATE-AC PDU (PS3.8 9.3.3).

    Attributes:
        called_ae_title: echo of the request's; not to be tested.
        calling_ae_title: echo of the request's; not to be tested.
        presentation_contexts: one result per proposed context.
        user_information: as in `AssociateRq`.
        application_context_name: as in `AssociateRq`.
        protocol_version: as in `AssociateRq`.
        unknown_items: items of the PDU other than 10H, 21H and 50H.
    """

    called_ae_title: str
    calling_ae_title: str
    presentation_contexts: tuple[ContextResult, ...]
    user_information: tuple[UserItem, ...]
    application_context_name: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    unknown_items: tuple[UnknownItem, ...] = ()


@dataclass(frozen=True, slots=True)
class AssociateRj:
    """A-ASSOCIATE-RJ PDU (PS3.8 9.3.4); names and words of the codes are in `reasons`."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class PresentationDataValue:
    """Presentation-data-value item (PS3.8 9.3.5.1, E.2).

    Attributes:
        presentation_context_id: of an accepted context.
        control: message control header: bit 0 command (else data set), bit 1 last fragment.
        data: the fragment, any length.
    """

    presentation_context_id: int
    control: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class PData:
    """P-DATA-TF PDU (PS3.8 9.3.5); received ones are streamed as fragments and never built."""

    values: tuple[PresentationDataValue, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRq:
    """A-RELEASE-RQ PDU (PS3.8 9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseRp:
    """A-RELEASE-RP PDU (PS3.8 9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT PDU (PS3.8 9.3.8).

    Attributes:
        source: 0 service-user, 2 service-provider.
        reason: significant for source 2 only, see `reasons.AbortReason`.
    """

    source: int = 0
    reason: int = 0


Pdu: TypeAlias = AssociateRq | AssociateAc | AssociateRj | PData | ReleaseRq | ReleaseRp | Abort
