"""The 23 DIMSE command messages, one dataclass each, fields in the standard's names (PS3.7 9.3, 10.3, C).

`codec` reads and writes them. A field without a default is needed to act on the message. Legality (a known
SOP class, a valid UID) is judged by the services.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import IntEnum
from typing import ClassVar

RESPONSE = 0x8000  # bit of Command Field that tells a response from its request (PS3.7 E.1)


class Priority(IntEnum):
    """Values of Priority (0000,0700) (PS3.7 9.3)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class Command:
    """What all command messages share.

    Attributes:
        name: the message's name in the standard, such as `C-STORE-RQ`.
        command_field: the value of Command Field (0000,0100).
        carries: True where a data set always belongs to it, None where one may, False where none does.
        data_set: a data set follows: Command Data Set Type (0000,0800) is not 0101H.
    """

    name: ClassVar[str]
    command_field: ClassVar[int]
    carries: ClassVar[bool | None] = False
    _: KW_ONLY
    data_set: bool = False


@dataclass(frozen=True, slots=True)
class Request(Command):
    """A command that asks for an operation or notifies; the response names its message ID."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Response(Command):
    """A command that answers; the fields about its status are those of PS3.7 Annex C."""

    message_id_being_responded_to: int
    status: int
    _: KW_ONLY
    affected_sop_class_uid: str | None = None
    offending_element: tuple[int, ...] = ()
    error_comment: str | None = None
    error_id: int | None = None


@dataclass(frozen=True, slots=True)
class SubOperationsResponse(Response):
    """An answer that counts C-STORE sub-operations (PS3.7 Tables 9.3-7, 9.3-10)."""

    _: KW_ONLY
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


@dataclass(frozen=True, slots=True)
class NormalizedResponse(Response):
    """An answer of the DIMSE-N services, which may name the instance and the attributes it is about."""

    _: KW_ONLY
    affected_sop_instance_uid: str | None = None
    attribute_identifier_list: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CStoreRq(Request):
    """C-STORE-RQ (PS3.7 Table 9.3-1)."""

    name = "C-STORE-RQ"
    command_field = 0x0001
    carries = True
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    priority: int = Priority.MEDIUM
    move_originator_application_entity_title: str | None = None
    move_originator_message_id: int | None = None
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CStoreRsp(Response):
    """C-STORE-RSP (PS3.7 Table 9.3-2)."""

    name = "C-STORE-RSP"
    command_field = 0x8001
    _: KW_ONLY
    affected_sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class CFindRq(Request):
    """C-FIND-RQ (PS3.7 Table 9.3-3)."""

    name = "C-FIND-RQ"
    command_field = 0x0020
    carries = True
    affected_sop_class_uid: str
    priority: int = Priority.MEDIUM
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CFindRsp(Response):
    """C-FIND-RSP (PS3.7 Table 9.3-4)."""

    name = "C-FIND-RSP"
    command_field = 0x8020
    carries = None


@dataclass(frozen=True, slots=True)
class CGetRq(Request):
    """C-GET-RQ (PS3.7 Table 9.3-6)."""

    name = "C-GET-RQ"
    command_field = 0x0010
    carries = True
    affected_sop_class_uid: str
    priority: int = Priority.MEDIUM
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CGetRsp(SubOperationsResponse):
    """C-GET-RSP (PS3.7 Table 9.3-7)."""

    name = "C-GET-RSP"
    command_field = 0x8010
    carries = None


@dataclass(frozen=True, slots=True)
class CMoveRq(Request):
    """C-MOVE-RQ (PS3.7 Table 9.3-9)."""

    name = "C-MOVE-RQ"
    command_field = 0x0021
    carries = True
    affected_sop_class_uid: str
    move_destination: str
    priority: int = Priority.MEDIUM
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class CMoveRsp(SubOperationsResponse):
    """C-MOVE-RSP (PS3.7 Table 9.3-10)."""

    name = "C-MOVE-RSP"
    command_field = 0x8021
    carries = None


@dataclass(frozen=True, slots=True)
class CEchoRq(Request):
    """C-ECHO-RQ (PS3.7 Table 9.3-12)."""

    name = "C-ECHO-RQ"
    command_field = 0x0030
    affected_sop_class_uid: str


@dataclass(frozen=True, slots=True)
class CEchoRsp(Response):
    """C-ECHO-RSP (PS3.7 Table 9.3-13)."""

    name = "C-ECHO-RSP"
    command_field = 0x8030


@dataclass(frozen=True, slots=True)
class CCancelRq(Command):
    """C-CANCEL-RQ, which has no message ID and no answer of its own (PS3.7 Tables 9.3-5, 9.3-8, 9.3-11)."""

    name = "C-CANCEL-RQ"
    command_field = 0x0FFF
    message_id_being_responded_to: int


@dataclass(frozen=True, slots=True)
class NEventReportRq(Request):
    """N-EVENT-REPORT-RQ (PS3.7 Table 10.3-1)."""

    name = "N-EVENT-REPORT-RQ"
    command_field = 0x0100
    carries = None
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    event_type_id: int


@dataclass(frozen=True, slots=True)
class NEventReportRsp(NormalizedResponse):
    """N-EVENT-REPORT-RSP (PS3.7 Table 10.3-2)."""

    name = "N-EVENT-REPORT-RSP"
    command_field = 0x8100
    carries = None
    _: KW_ONLY
    event_type_id: int | None = None


@dataclass(frozen=True, slots=True)
class NGetRq(Request):
    """N-GET-RQ (PS3.7 Table 10.3-3)."""

    name = "N-GET-RQ"
    command_field = 0x0110
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    attribute_identifier_list: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NGetRsp(NormalizedResponse):
    """N-GET-RSP (PS3.7 Table 10.3-4)."""

    name = "N-GET-RSP"
    command_field = 0x8110
    carries = None


@dataclass(frozen=True, slots=True)
class NSetRq(Request):
    """N-SET-RQ (PS3.7 Table 10.3-5)."""

    name = "N-SET-RQ"
    command_field = 0x0120
    carries = True
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    _: KW_ONLY
    data_set: bool = True


@dataclass(frozen=True, slots=True)
class NSetRsp(NormalizedResponse):
    """N-SET-RSP (PS3.7 Table 10.3-6)."""

    name = "N-SET-RSP"
    command_field = 0x8120
    carries = None


@dataclass(frozen=True, slots=True)
class NActionRq(Request):
    """N-ACTION-RQ (PS3.7 Table 10.3-7)."""

    name = "N-ACTION-RQ"
    command_field = 0x0130
    carries = None
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    action_type_id: int


@dataclass(frozen=True, slots=True)
class NActionRsp(NormalizedResponse):
    """N-ACTION-RSP (PS3.7 Table 10.3-8)."""

    name = "N-ACTION-RSP"
    command_field = 0x8130
    carries = None
    _: KW_ONLY
    action_type_id: int | None = None


@dataclass(frozen=True, slots=True)
class NCreateRq(Request):
    """N-CREATE-RQ (PS3.7 Table 10.3-9)."""

    name = "N-CREATE-RQ"
    command_field = 0x0140
    carries = None
    affected_sop_class_uid: str
    affected_sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class NCreateRsp(NormalizedResponse):
    """N-CREATE-RSP (PS3.7 Table 10.3-10)."""

    name = "N-CREATE-RSP"
    command_field = 0x8140
    carries = None


@dataclass(frozen=True, slots=True)
class NDeleteRq(Request):
    """N-DELETE-RQ (PS3.7 Table 10.3-11)."""

    name = "N-DELETE-RQ"
    command_field = 0x0150
    requested_sop_class_uid: str
    requested_sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class NDeleteRsp(NormalizedResponse):
    """N-DELETE-RSP (PS3.7 Table 10.3-12)."""

    name = "N-DELETE-RSP"
    command_field = 0x8150


@dataclass(frozen=True, slots=True)
class UnrecognizedRq(Request):
    """A request whose Command Field is none of the standard's; the answer is status 0211H (PS3.7 C.5.22)."""

    name = "unrecognized request"
    carries = None
    unrecognized_field: int


@dataclass(frozen=True, slots=True)
class UnrecognizedRsp(Response):
    """The answer to a request whose Command Field is none of the standard's."""

    name = "unrecognized response"
    carries = None
    _: KW_ONLY
    unrecognized_field: int


COMMANDS: dict[int, type[Command]] = {
    message.command_field: message
    for message in (
        CStoreRq, CStoreRsp, CGetRq, CGetRsp, CFindRq, CFindRsp, CMoveRq, CMoveRsp, CEchoRq, CEchoRsp,
        NEventReportRq, NEventReportRsp, NGetRq, NGetRsp, NSetRq, NSetRsp, NActionRq, NActionRsp,
        NCreateRq, NCreateRsp, NDeleteRq, NDeleteRsp, CCancelRq,
    )
}  # fmt: skip


def response(request: Request, status: int, error_comment: str | None = None) -> Response:
    """The message that answers a request, with nothing but a status and a comment."""
    message_id = request.message_id
    if isinstance(request, UnrecognizedRq):
        answered = request.unrecognized_field | RESPONSE
        return UnrecognizedRsp(message_id, status, unrecognized_field=answered, error_comment=error_comment)
    kind = COMMANDS[request.command_field | RESPONSE]
    assert issubclass(kind, Response)
    return kind(message_id, status, error_comment=error_comment)
