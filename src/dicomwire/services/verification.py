"""Verification Service Class: C-ECHO (PS3.4 A, PS3.7 9.1.5)."""

from __future__ import annotations

from dicomwire.association.association import Association
from dicomwire.association.invoker import Response
from dicomwire.association.performer import Request, Services
from dicomwire.dimse import status
from dicomwire.dimse.command import CEchoRq, CEchoRsp
from dicomwire.errors import NoAcceptedContext
from dicomwire.uids import VERIFICATION


def echo(request: Request) -> None:
    """Answer a C-ECHO: success, whoever asks (SCP)."""
    request.respond(
        CEchoRsp(
            request.command.message_id,
            status.SUCCESS,
            affected_sop_class_uid=request.context.abstract_syntax,
        )
    )


SERVICES: Services = {(VERIFICATION, CEchoRq): echo}


async def verify(association: Association) -> Response:
    """Send a C-ECHO and wait for its answer (SCU).

    Raises: NoAcceptedContext, when the association has no context for Verification; AssociationError, when it
        ends before the answer.
    """
    contexts = association.contexts_for(VERIFICATION)
    if not contexts:
        raise NoAcceptedContext("the association has no presentation context for the Verification SOP Class")
    return await association.request(contexts[0].presentation_context_id, CEchoRq(0, VERIFICATION))
