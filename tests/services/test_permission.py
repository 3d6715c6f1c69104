"""Services only for those who may use them."""

from __future__ import annotations

import pytest

from dicomwire.access.identity import Identity
from dicomwire.access.permission import Permission, Permissions
from dicomwire.dimse.command import CEchoRq, CEchoRsp, NGetRq, NGetRsp
from dicomwire.services import instance_availability, procedure_step, storage_commitment
from dicomwire.services.permission import permitted
from dicomwire.services.verification import SERVICES
from dicomwire.uids import VERIFICATION
from tests.services.fakes import FakeAssociation, FakeRequest, context

CONTEXT = context(VERIFICATION)
ECHO = CEchoRq(7, VERIFICATION)


def answer(permissions: Permissions, identity: Identity | None = None) -> object:
    association = FakeAssociation([CONTEXT], identity=identity)
    request = FakeRequest(association, CONTEXT, ECHO)
    permitted(SERVICES, permissions)[VERIFICATION, CEchoRq](request)
    return request.answers[0]


def test_peer_that_may_is_served() -> None:
    assert answer(Permissions({"MODALITY": Permission.ECHO})) == CEchoRsp(
        7, 0, affected_sop_class_uid=VERIFICATION
    )


@pytest.mark.parametrize(
    ("permissions", "user"),
    [
        (Permissions({"MODALITY": Permission.STORE}), Permission.ALL),
        (Permissions(others=Permission.NONE), Permission.ALL),
        (Permissions(), Permission.STORE),
    ],
)
def test_peer_or_user_that_may_not_is_answered_not_authorized(
    permissions: Permissions, user: Permission
) -> None:
    refused = answer(permissions, Identity("anna", 2, True, user))
    assert refused == CEchoRsp(7, 0x0124, error_comment="echo is not allowed for this AE title or user")


def test_message_that_is_no_operation_goes_through() -> None:
    services = {("1.2", NGetRq): lambda request: request.respond(NGetRsp(1, 0))}
    request = FakeRequest(FakeAssociation(), CONTEXT, NGetRq(1, "1.2", "1.3"))
    permitted(services, Permissions(others=Permission.NONE))["1.2", NGetRq](request)
    assert request.answers == [NGetRsp(1, 0)]


@pytest.mark.parametrize(
    ("sop_class_uid", "permission"),
    [
        (procedure_step.MPPS, Permission.MPPS),
        (procedure_step.RETRIEVE, Permission.MPPS),
        (storage_commitment.STORAGE_COMMITMENT, Permission.COMMIT),
        (instance_availability.INSTANCE_AVAILABILITY, Permission.NOTIFY),
    ],
)
def test_a_sop_class_is_for_those_who_may_what_it_is_for(sop_class_uid: str, permission: Permission) -> None:
    services = {(sop_class_uid, NGetRq): lambda request: request.respond(NGetRsp(1, 0))}
    for granted, status in ((permission, 0), (Permission.ALL & ~permission, 0x0124)):
        request = FakeRequest(FakeAssociation(), context(sop_class_uid), NGetRq(1, sop_class_uid, "1.3"))
        permitted(services, Permissions({"MODALITY": granted}))[sop_class_uid, NGetRq](request)
        (answered,) = request.answers
        assert answered.status == status  # type: ignore[attr-defined]
