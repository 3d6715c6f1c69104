"""Services only for those who may use them (PS3.7 C, 0124H Refused: not authorized)."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping

import structlog

from dicomwire.access.permission import Permission, Permissions, names_of
from dicomwire.association.performer import Request, Service, Services, Sink
from dicomwire.dimse import status
from dicomwire.dimse.command import CEchoRq, CFindRq, CGetRq, CMoveRq, CStoreRq
from dicomwire.dimse.command import Request as RequestCommand
from dicomwire.services import (
    instance_availability,
    procedure_step,
    storage_commitment,
    unified_procedure_step,
)

OPERATIONS: Mapping[type[RequestCommand], Permission] = {
    CEchoRq: Permission.ECHO,
    CStoreRq: Permission.STORE,
    CFindRq: Permission.FIND,
    CGetRq: Permission.GET,
    CMoveRq: Permission.MOVE,
}

SOP_CLASSES: Mapping[str, Permission] = {
    procedure_step.MPPS: Permission.MPPS,
    procedure_step.RETRIEVE: Permission.MPPS,
    storage_commitment.STORAGE_COMMITMENT: Permission.COMMIT,
    instance_availability.INSTANCE_AVAILABILITY: Permission.NOTIFY,
    **dict.fromkeys(unified_procedure_step.SOP_CLASSES, Permission.UPS),
}
"""Every operation on these is the one thing that can be allowed."""

log = structlog.get_logger()


def permitted(services: Services, permissions: Permissions) -> Services:
    """The same services; who is not allowed the operation is answered 0124H.

    Messages that neither `SOP_CLASSES` nor `OPERATIONS` knows go through.
    """
    guarded = {}
    for (abstract_syntax, message), service in services.items():
        operation = SOP_CLASSES.get(abstract_syntax) or OPERATIONS.get(message)
        guarded[abstract_syntax, message] = (
            _guarded(service, operation, permissions) if operation else service
        )
    return guarded


def _guarded(service: Service, operation: Permission, permissions: Permissions) -> Service:
    def guarded(request: Request) -> Sink | Coroutine[None, None, None] | None:
        association = request.association
        user = association.identity.permission if association.identity is not None else Permission.ALL
        if permissions.allow(operation, association.calling_ae_title, user):
            return service(request)
        (name,) = names_of(operation)
        log.warning(
            "request not allowed",
            association=association.id,
            peer=association.peer,
            calling_ae_title=association.calling_ae_title,
            message=request.command.name,
        )
        request.refuse(status.NOT_AUTHORIZED, f"{name} is not allowed for this AE title or user")
        return None

    return guarded
