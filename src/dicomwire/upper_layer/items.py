"""Variable items of A-ASSOCIATE PDUs and their user information sub-items (PS3.8 9.3.2, D.1; PS3.7 D.3.3).

Values only: `codec` reads and writes them, `negotiation` judges them. What is not known is kept as
`UnknownItem` and written again as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias


class ItemType(IntEnum):
    """First byte of an item or sub-item."""

    APPLICATION_CONTEXT = 0x10
    PRESENTATION_CONTEXT_RQ = 0x20
    PRESENTATION_CONTEXT_AC = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNCHRONOUS_OPERATIONS_WINDOW = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    SOP_CLASS_EXTENDED_NEGOTIATION = 0x56
    SOP_CLASS_COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


class ContextResultCode(IntEnum):
    """Result/Reason of a presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class UserIdentityType(IntEnum):
    """User-Identity-Type (PS3.7 Table D.3-14)."""

    USERNAME = 1  # UTF-8
    USERNAME_AND_PASSCODE = 2  # UTF-8, both
    KERBEROS = 3  # service ticket
    SAML = 4  # assertion
    JWT = 5  # JSON Web Token


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """An item or sub-item of a type that this edition does not define, to be ignored (PS3.8 9.3.1).

    Attributes:
        type: first byte.
        data: bytes after the item's length field.
        reserved: second byte.
    """

    type: int
    data: bytes
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """Presentation Context Item of an A-ASSOCIATE-RQ, 20H (PS3.8 9.3.2.2).

    Attributes:
        presentation_context_id: odd, 1 to 255; even ones are decoded too.
        abstract_syntax: UID of a SOP class or meta SOP class, "" where the item had none.
        transfer_syntaxes: UIDs in the requestor's order.
        unknown_items: sub-items other than 30H and 40H.
    """

    presentation_context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    unknown_items: tuple[UnknownItem, ...] = ()


@dataclass(frozen=True, slots=True)
class ContextResult:
    """Presentation Context Item of an A-ASSOCIATE-AC, 21H (PS3.8 9.3.3.2).

    Attributes:
        presentation_context_id: that of the proposed context.
        result: 0 to 4, see `ContextResultCode`.
        transfer_syntax: the one accepted; not significant where the result is not 0; "" writes no sub-item.
        unknown_items: sub-items other than 40H.
    """

    presentation_context_id: int
    result: int
    transfer_syntax: str
    unknown_items: tuple[UnknownItem, ...] = ()


@dataclass(frozen=True, slots=True)
class MaximumLength:
    """Maximum Length Sub-Item, 51H (PS3.8 D.1): bytes of a P-DATA-TF variable field, 0 = no limit."""

    maximum_length: int


@dataclass(frozen=True, slots=True)
class ImplementationClassUID:
    """Implementation Class UID Sub-Item, 52H (PS3.7 D.3.3.2.1)."""

    uid: str


@dataclass(frozen=True, slots=True)
class AsynchronousOperationsWindow:
    """Asynchronous Operations Window Sub-Item, 53H (PS3.7 D.3.3.3): outstanding operations, 0 = no limit.

    Attributes:
        invoked: operations that the requestor may have outstanding.
        performed: operations that the acceptor may have outstanding with the requestor.
    """

    invoked: int
    performed: int


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU Role Selection Sub-Item, 54H (PS3.7 D.3.3.4): roles of the association's requestor."""

    sop_class_uid: str
    scu_role: bool
    scp_role: bool


@dataclass(frozen=True, slots=True)
class ImplementationVersionName:
    """Implementation Version Name Sub-Item, 55H (PS3.7 D.3.3.2.3): 1 to 16 characters."""

    name: str


@dataclass(frozen=True, slots=True)
class SOPClassExtendedNegotiation:
    """SOP Class Extended Negotiation Sub-Item, 56H (PS3.7 D.3.3.5); `information` is the service class's."""

    sop_class_uid: str
    information: bytes


@dataclass(frozen=True, slots=True)
class SOPClassCommonExtendedNegotiation:
    """SOP Class Common Extended Negotiation Sub-Item, 57H, of a request only (PS3.7 D.3.3.6).

    Attributes:
        sop_class_uid: the class that the acceptor may not know.
        service_class_uid: its service class, e.g. 1.2.840.10008.4.2 Storage.
        related_general_sop_class_uids: classes it may be treated as.
        version: the sub-item's version, byte 2.
        reserved: bytes behind the last field, none in version 0.
    """

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_class_uids: tuple[str, ...]
    version: int = 0
    reserved: bytes = b""


@dataclass(frozen=True, slots=True)
class UserIdentityRq:
    """User Identity Sub-Item of a request, 58H (PS3.7 D.3.3.7.1).

    Attributes:
        type: 1 to 5, see `UserIdentityType`.
        positive_response_requested: the requestor wants item 59H.
        primary: user name, ticket, assertion or token; credentials, never logged.
        secondary: passcode, of type 2 only.
    """

    type: int
    positive_response_requested: bool
    primary: bytes
    secondary: bytes = b""

    def __repr__(self) -> str:
        return f"UserIdentityRq(type={self.type}, {len(self.primary)}+{len(self.secondary)} bytes)"


@dataclass(frozen=True, slots=True)
class UserIdentityAc:
    """User Identity Sub-Item of an answer, 59H (PS3.7 D.3.3.7.2); empty but for Kerberos and SAML."""

    server_response: bytes

    def __repr__(self) -> str:
        return f"UserIdentityAc({len(self.server_response)} bytes)"


UserItem: TypeAlias = (
    MaximumLength
    | ImplementationClassUID
    | AsynchronousOperationsWindow
    | RoleSelection
    | ImplementationVersionName
    | SOPClassExtendedNegotiation
    | SOPClassCommonExtendedNegotiation
    | UserIdentityRq
    | UserIdentityAc
    | UnknownItem
)
