"""DIMSE-N operations and notifications, SCP and SCU: what their services share (PS3.7 10.1, C.4).

An SCP's handler gets a whole operation and returns an answer, or raises `Refused`; statuses, error fields and
encodings are made here. Nothing of a request that is refused has been done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import structlog

from dicomwire.association.association import Association
from dicomwire.association.performer import Request, Service, Sink
from dicomwire.association.words import printable
from dicomwire.dicom.data_set import DataSet, decode, encode
from dicomwire.dimse import command as dimse
from dicomwire.dimse import status
from dicomwire.dimse.command import NormalizedResponse
from dicomwire.errors import DecodeError, InvalidAttribute, NoAcceptedContext, OperationFailed, WorkError
from dicomwire.uids import is_valid_uid, name_of
from dicomwire.work.procedure_steps import MAY_NO_LONGER_BE_UPDATED
from dicomwire.work.refusal import Reason, Refused

LIMIT: Final = 4 << 20  # bytes of an attribute list; a procedure step that names 30,000 images has as many
LONG: Final = 64 << 10  # bytes from which on an attribute list is decoded in a thread
MANY: Final = 500  # items of one sequence from which on it is

STATUS_OF: Final[Mapping[Reason, int]] = {
    Reason.DUPLICATE_INSTANCE: status.DUPLICATE_SOP_INSTANCE,
    Reason.NO_SUCH_INSTANCE: status.NO_SUCH_SOP_INSTANCE,
    Reason.NO_SUCH_ATTRIBUTE: status.NO_SUCH_ATTRIBUTE,
    Reason.MISSING_ATTRIBUTE: status.MISSING_ATTRIBUTE,
    Reason.MISSING_VALUE: status.MISSING_ATTRIBUTE_VALUE,
    Reason.INVALID_VALUE: status.INVALID_ATTRIBUTE_VALUE,
    Reason.INVALID_INSTANCE: status.INVALID_SOP_INSTANCE,
    Reason.NO_SUCH_ACTION: status.NO_SUCH_ACTION_TYPE,
    Reason.NO_SUCH_EVENT: status.NO_SUCH_EVENT_TYPE,
    Reason.INVALID_ARGUMENT: status.INVALID_ARGUMENT_VALUE,
    Reason.DUPLICATE_TRANSACTION: status.DUPLICATE_TRANSACTION_UID,
    Reason.FINAL_STATE: status.PROCESSING_FAILURE,
    Reason.PROCESSING_FAILURE: status.PROCESSING_FAILURE,
    Reason.CLASS_CONFLICT: status.CLASS_INSTANCE_CONFLICT,
    Reason.MISTYPED: status.MISTYPED_ARGUMENT,
    Reason.UPS_FINAL: 0xC300,  # this and the rest: PS3.4 CC.2
    Reason.UPS_TRANSACTION: 0xC301,
    Reason.UPS_IN_PROGRESS: 0xC302,
    Reason.UPS_ONLY_CREATED: 0xC303,
    Reason.UPS_NOT_MET: 0xC304,
    Reason.UPS_UNKNOWN: 0xC307,
    Reason.UPS_GONE: 0xC307,
    Reason.UPS_RECEIVER_UNKNOWN: 0xC308,
    Reason.UPS_NOT_SCHEDULED: 0xC309,
    Reason.UPS_NOT_IN_PROGRESS: 0xC310,
    Reason.UPS_COMPLETED: 0xC311,
    Reason.UPS_NO_CONTACT: 0xC312,
    Reason.UPS_NOT_CANCELED: 0xC313,
    Reason.UPS_NOT_APPROPRIATE: 0xC314,
    Reason.UPS_NO_EVENTS: 0xC315,
}
ERROR_ID_OF: Final[Mapping[Reason, int]] = {Reason.FINAL_STATE: MAY_NO_LONGER_BE_UPDATED}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, whole.

    Attributes:
        attributes: its data set; empty where it had none.
        now: seconds since 1970 at its arrival.
    """

    request: Request
    attributes: DataSet = field(repr=False)
    now: float

    @property
    def command(self) -> dimse.Request:
        """The message."""
        return self.request.command

    @property
    def association(self) -> Association:
        """Where it came from."""
        return self.request.association

    @property
    def sop_class_uid(self) -> str:
        """The SOP class that the command names."""
        return named_class(self.request.command)

    @property
    def sop_instance_uid(self) -> str:
        """The SOP instance that the command names; "" for an N-CREATE without one."""
        return named_instance(self.request.command)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation is answered with; the rest of the response follows from the request.

    Attributes:
        attributes: the data set of the response, None for none.
        identifiers: Attribute Identifier List (0000,1005).
        sop_instance_uid: Affected SOP Instance UID where it is not the request's.
    """

    status: int = status.SUCCESS
    comment: str | None = None
    attributes: DataSet | None = None
    identifiers: tuple[int, ...] = ()
    error_id: int | None = None
    sop_instance_uid: str = ""


Handler: TypeAlias = Callable[[Operation], Awaitable[Answer]]


def named_class(command: dimse.Request) -> str:
    """The SOP class UID of a DIMSE-N request."""
    requested = getattr(command, "requested_sop_class_uid", None)
    return str(requested if requested is not None else getattr(command, "affected_sop_class_uid", ""))


def named_instance(command: dimse.Request) -> str:
    """The SOP instance UID of a DIMSE-N request; "" where it has none."""
    requested = getattr(command, "requested_sop_instance_uid", None)
    return str(requested or getattr(command, "affected_sop_instance_uid", None) or "")


# SCP


def service(handler: Handler, *, sop_classes: frozenset[str] | None = None, limit: int = LIMIT) -> Service:
    """A service that gives whole operations to a handler.

    sop_classes: that a command may name; None for that of the presentation context only.
    limit: bytes of a data set that is taken.
    """

    def perform(request: Request) -> Sink | Coroutine[None, None, None] | None:
        refusal = _refusal(request, sop_classes)
        if refusal is not None:
            _respond(request, refusal)
            return None
        if request.command.data_set:
            return _Incoming(handler, request, limit)
        return _perform(handler, request, b"")

    return perform


def _refusal(request: Request, sop_classes: frozenset[str] | None) -> Answer | None:
    """Why a request is refused before its data set is looked at."""
    if request.duplicate:
        return Answer(status.DUPLICATE_INVOCATION, "Message ID is that of a request under way")
    command, abstract_syntax = request.command, request.context.abstract_syntax
    if named_class(command) not in (sop_classes or {abstract_syntax}):
        return Answer(status.NO_SUCH_SOP_CLASS, "SOP class is not the presentation context's")
    uid = named_instance(command)
    if not is_valid_uid(uid) and not (uid == "" and isinstance(command, dimse.NCreateRq)):
        return Answer(status.INVALID_SOP_INSTANCE, "SOP Instance UID is no UID")
    return None


class _Incoming:
    """The data set of one request on its way to its handler."""

    def __init__(self, handler: Handler, request: Request, limit: int) -> None:
        self._handler = handler
        self._limit = limit
        self._request = request
        self._data = bytearray()
        self._length = 0

    def write(self, data: memoryview) -> None:
        self._length += len(data)
        if self._length <= self._limit:
            self._data += data

    def finish(self) -> Coroutine[None, None, None] | None:
        if self._length > self._limit:
            comment = f"Data set of {self._length} bytes; {self._limit} are taken"
            _respond(self._request, Answer(status.RESOURCE_LIMITATION, comment))
            return None
        return _perform(self._handler, self._request, bytes(self._data))

    def abort(self, reason: str) -> None:
        self._data.clear()


async def _perform(handler: Handler, request: Request, data: bytes) -> None:
    now = time.time()
    try:
        attributes = await _decoded(data, request.context.transfer_syntax)
    except (DecodeError, InvalidAttribute) as error:
        _respond(request, Answer(status.PROCESSING_FAILURE, f"Data set cannot be read: {error}"))
        return
    try:
        answer = await handler(Operation(request, attributes, now))
    except Refused as refused:
        code, error_id = STATUS_OF[refused.reason], ERROR_ID_OF.get(refused.reason)
        answer = Answer(code, refused.words, identifiers=refused.attributes, error_id=error_id)
    except WorkError as error:
        answer = Answer(status.RESOURCE_LIMITATION, str(error))
    _respond(request, answer)


async def _decoded(data: bytes, transfer_syntax: str) -> DataSet:
    if not data:
        return DataSet()
    if len(data) < LONG:
        return decode(data, transfer_syntax)
    return await asyncio.to_thread(decode, data, transfer_syntax)


async def _encoded(attributes: DataSet, transfer_syntax: str) -> bytes:
    if is_long(attributes):
        return await asyncio.to_thread(encode, attributes, transfer_syntax)
    return encode(attributes, transfer_syntax)


def is_long(attributes: DataSet) -> bool:
    """Whether there is so much to do with an attribute list that the loop should not do it."""
    return any(len(attribute.values) > MANY for attribute in attributes.values())


def _respond(request: Request, answer: Answer) -> None:
    command = request.command
    if answer.status != status.SUCCESS:
        association = request.association
        log.warning(
            "operation not performed as asked",
            association=association.id,
            peer=association.peer,
            calling_ae_title=printable(association.calling_ae_title),
            message=command.name,
            message_id=command.message_id,
            sop_class=name_of(request.context.abstract_syntax),
            sop_instance_uid=printable(named_instance(command)),
            status=f"{answer.status:04X}H",
            reason=printable(answer.comment or ""),
        )
    data = None
    if answer.attributes is not None:
        data = [memoryview(encode(answer.attributes, request.context.transfer_syntax))]
    request.respond(response_to(command, answer), data)


def response_to(command: dimse.Request, answer: Answer) -> NormalizedResponse:
    """The response message of an answer. UIDs are repeated where they are some: garbage is not sent back."""
    kind = dimse.COMMANDS[command.command_field | 0x8000]
    assert issubclass(kind, NormalizedResponse)
    sop_class_uid = named_class(command)
    sop_instance_uid = answer.sop_instance_uid or named_instance(command)
    response = kind(
        command.message_id,
        answer.status,
        affected_sop_class_uid=sop_class_uid if is_valid_uid(sop_class_uid) else None,
        affected_sop_instance_uid=sop_instance_uid if is_valid_uid(sop_instance_uid) else None,
        attribute_identifier_list=answer.identifiers,
        error_comment=answer.comment,
        error_id=answer.error_id,
        data_set=answer.attributes is not None,
    )
    if isinstance(response, dimse.NEventReportRsp) and isinstance(command, dimse.NEventReportRq):
        return replace(response, event_type_id=command.event_type_id)
    if isinstance(response, dimse.NActionRsp) and isinstance(command, dimse.NActionRq):
        return replace(response, action_type_id=command.action_type_id)
    return response


# SCU


@dataclass(frozen=True, slots=True)
class Reply:
    """A peer's answer.

    Attributes:
        attributes: its data set; empty where it had none.
        service: name of the table of status codes that it is judged by.
    """

    command: NormalizedResponse
    attributes: DataSet = field(repr=False)
    service: str = status.GENERAL

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.command.status

    @property
    def performed(self) -> bool:
        """Success, or success with a warning."""
        found = status.status_class(self.service, self.command.status)
        return found in (status.StatusClass.SUCCESS, status.StatusClass.WARNING)

    @property
    def words(self) -> str:
        """The status in words, with the peer's comment."""
        parts = [status.words(self.service, self.command.status), self.command.error_comment or ""]
        if self.command.error_id is not None:
            parts.append(f"Error ID {self.command.error_id:04X}H")
        return ": ".join(part for part in parts if part)


def performed(command: dimse.Request, reply: Reply) -> Reply:
    """The reply to a command that was performed. Raises: OperationFailed, with the peer's words."""
    if reply.performed:
        return reply
    raise OperationFailed(
        f"{command.name}: {reply.words}",
        status=reply.status,
        comment=reply.command.error_comment or "",
        offending_element=reply.command.attribute_identifier_list,
    )


async def invoke(
    association: Association,
    command: dimse.Request,
    attributes: DataSet | None = None,
    *,
    abstract_syntax: str = "",
) -> Reply:
    """Invoke an operation or notification and wait for its answer.

    command: its message ID 0 asks for one that is free.
    abstract_syntax: of the context to use; the SOP class that the command names without it.
    Raises: NoAcceptedContext, when the association has no such context; AssociationError, when it ends before
        the answer; DecodeError, when the answer's data set cannot be read.
    """
    abstract_syntax = abstract_syntax or named_class(command)
    contexts = association.contexts_for(abstract_syntax)
    if not contexts:
        refused = "; ".join(association.agreement.refused)
        words = f"the association has no presentation context for {name_of(abstract_syntax)}"
        raise NoAcceptedContext(f"{words}{f': {refused}' if refused else ''}")
    context = contexts[0]
    data = None
    if attributes is not None:
        data = [memoryview(await _encoded(attributes, context.transfer_syntax))]
        command = replace(command, data_set=True)
    response = await association.request(context.presentation_context_id, command, data)
    found = DataSet()
    if response.data:
        found = await _decoded(response.data, context.transfer_syntax)
    assert isinstance(response.command, NormalizedResponse)
    action = command.action_type_id if isinstance(command, dimse.NActionRq) else 0
    service = status.service_of(command.name.removesuffix("-RQ"), named_class(command), action)
    return Reply(response.command, found, service)
