"""C-ECHO, both sides."""

from __future__ import annotations

import pytest

from dicomwire.dimse.command import CEchoRq, CEchoRsp
from dicomwire.errors import NoAcceptedContext
from dicomwire.services.verification import SERVICES, verify
from dicomwire.uids import VERIFICATION
from tests.services.fakes import FakeAssociation, FakeRequest, context

CONTEXT = context(VERIFICATION, number=3)


def test_echo_is_answered_with_success_in_its_context() -> None:
    request = FakeRequest(FakeAssociation([CONTEXT]), CONTEXT, CEchoRq(7, VERIFICATION))
    assert SERVICES[VERIFICATION, CEchoRq](request) is None
    assert request.answers == [CEchoRsp(7, 0, affected_sop_class_uid=VERIFICATION)]


async def test_verify_asks_in_the_context_for_verification() -> None:
    association = FakeAssociation([context(number=1), CONTEXT])
    response = await verify(association)
    assert response.status == 0
    assert association.sent == [(3, CEchoRq(0, VERIFICATION), b"")]


async def test_verify_without_a_context_says_so() -> None:
    with pytest.raises(NoAcceptedContext, match="Verification"):
        await verify(FakeAssociation([context()]))
