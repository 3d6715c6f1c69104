"""All six DIMSE-N services through the engine: SCU and SCP, statuses, error fields, both ends of an
association."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context, connect
from dicomwire.dicom.data_set import DataSet, tag_of
from dicomwire.dimse.command import (
    NActionRq,
    NCreateRq,
    NDeleteRq,
    NEventReportRq,
    NGetRq,
    NSetRq,
    Request,
)
from dicomwire.errors import NoAcceptedContext, WorkError
from dicomwire.services.normalized import (
    STATUS_OF,
    Answer,
    Operation,
    invoke,
    named_class,
    named_instance,
    service,
)
from dicomwire.upper_layer.items import AsynchronousOperationsWindow
from dicomwire.work.refusal import Reason, Refused
from tests.association.support import CT, CT_ID, POLICY, entity, message, raw
from tests.association.support import listening as raw_listening
from tests.services.department import SYNTAXES, listening

CLASS, META, UID = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.5.1.1.9", "1.2.3"
MESSAGES: tuple[Request, ...] = (
    NCreateRq(0, CLASS, UID),
    NSetRq(0, CLASS, UID),
    NGetRq(0, CLASS, UID, (tag_of("PatientID"),)),
    NActionRq(0, CLASS, UID, 3),
    NDeleteRq(0, CLASS, UID),
    NEventReportRq(0, CLASS, UID, 2),
)
WITH_DATA = (NCreateRq, NSetRq, NActionRq, NEventReportRq)


class Scp:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []
        self.answer: Answer | Exception = Answer()
        self.came = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, operation: Operation) -> Answer:
        self.asked.append(operation)
        self.came.set()
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def services(self) -> Services:
        handler = service(self, sop_classes=frozenset({CLASS, META}))
        return {(uid, type(message)): handler for message in MESSAGES for uid in (CLASS, META)}


@pytest.fixture
def scp() -> Scp:
    return Scp()


@pytest.fixture
async def acceptor(scp: Scp) -> AsyncIterator[Acceptor]:
    async with listening(scp.services()) as acceptor:
        yield acceptor


@pytest.fixture
async def association(acceptor: Acceptor) -> AsyncIterator[Association]:
    contexts = [Context(CLASS, SYNTAXES), Context(META, SYNTAXES)]
    async with connect("127.0.0.1", acceptor.port, called_ae_title="SCP", contexts=contexts) as association:
        yield association


def attributes() -> DataSet:
    return DataSet().put("PatientID", "P1").put("PatientName", "Ödön")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
async def test_a_message_and_its_answer_arrive_whole(
    scp: Scp, association: Association, message: Request
) -> None:
    scp.answer = Answer(
        attributes=DataSet().put("PatientID", "P2") if type(message) is not NDeleteRq else None
    )
    sent = attributes() if isinstance(message, WITH_DATA) else None
    reply = await invoke(association, message, sent)
    (operation,) = scp.asked
    assert (operation.sop_class_uid, operation.sop_instance_uid) == (CLASS, UID)
    if sent is not None:
        assert operation.attributes.text("PatientName") == "Ödön"
    else:
        assert operation.attributes == DataSet()
    response = reply.command
    assert (response.status, response.affected_sop_class_uid, response.affected_sop_instance_uid) == (
        0,
        CLASS,
        UID,
    )
    assert reply.attributes.text("PatientID") == ("P2" if type(message) is not NDeleteRq else "")
    for name in ("action_type_id", "event_type_id"):
        assert getattr(response, name, None) == getattr(message, name, None)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
async def test_every_refusal_has_its_status_in_every_message(
    scp: Scp, association: Association, message: Request, reason: Reason
) -> None:
    scp.answer = Refused(reason, "words", (tag_of("PatientID"),))
    reply = await invoke(association, message, attributes() if isinstance(message, WITH_DATA) else None)
    assert reply.status == STATUS_OF[reason]
    assert reply.command.error_comment == "words"
    assert reply.command.attribute_identifier_list == (tag_of("PatientID"),)
    assert not reply.performed
    assert reply.words.endswith("words" if reply.command.error_id is None else "Error ID A710H")


async def test_statuses_of_a_service_go_out_as_they_are(scp: Scp, association: Association) -> None:
    scp.answer = Answer(0xB300, "created with changes", DataSet().put("PatientID", "P2"))
    reply = await invoke(association, MESSAGES[0], attributes())
    assert (reply.status, reply.performed) == (0xB300, True)


async def test_a_store_that_fails_is_a_lack_of_resources_and_a_bug_a_failure(
    scp: Scp, association: Association
) -> None:
    scp.answer = WorkError("the disk is full")
    assert (await invoke(association, MESSAGES[1], attributes())).status == 0x0213
    scp.answer = ZeroDivisionError()
    assert (await invoke(association, MESSAGES[1], attributes())).status == 0x0110
    scp.answer = Answer()
    assert (await invoke(association, MESSAGES[1], attributes())).status == 0


async def test_a_class_may_be_used_in_the_context_of_a_meta_class(scp: Scp, association: Association) -> None:
    assert (await invoke(association, NCreateRq(0, CLASS, UID), abstract_syntax=META)).status == 0
    refused = await invoke(association, NCreateRq(0, "1.2.840.10008.1.1", UID), abstract_syntax=META)
    assert refused.status == 0x0118
    assert len(scp.asked) == 1


async def test_without_a_context_nothing_is_sent(association: Association) -> None:
    with pytest.raises(NoAcceptedContext, match="Verification"):
        await invoke(association, NCreateRq(0, "1.2.840.10008.1.1", UID))


async def test_an_event_comes_to_the_requestor_on_its_own_association_while_it_asks(scp: Scp) -> None:
    heard: list[str] = []

    async def hear(operation: Operation) -> Answer:
        heard.append(operation.attributes.text("PatientID"))
        return Answer()

    async def act(operation: Operation) -> Answer:
        event = NEventReportRq(0, CLASS, UID, 1)
        reply = await invoke(operation.association, event, DataSet().put("PatientID", "event"))
        return Answer(comment=f"heard: {reply.status:04X}")

    services: Services = {(CLASS, NActionRq): service(act)}
    async with (
        listening(services) as acceptor,
        connect(
            "127.0.0.1",
            acceptor.port,
            called_ae_title="SCP",
            contexts=[Context(CLASS, SYNTAXES)],
            services={(CLASS, NEventReportRq): service(hear)},
        ) as association,
    ):
        reply = await invoke(association, NActionRq(0, CLASS, UID, 1))
    assert (reply.status, reply.command.error_comment, heard) == (0, "heard: 0000", ["event"])


async def test_a_request_whose_association_ends_is_not_answered_and_hurts_nobody(
    scp: Scp, acceptor: Acceptor
) -> None:
    scp.gate.clear()
    contexts = [Context(CLASS, SYNTAXES)]
    async with connect("127.0.0.1", acceptor.port, called_ae_title="SCP", contexts=contexts) as first:
        asking = asyncio.create_task(invoke(first, MESSAGES[1], attributes()))
        await scp.came.wait()
        first.abort(why="a test")
        with pytest.raises(Exception, match="a test"):
            await asking
    scp.gate.set()
    async with connect("127.0.0.1", acceptor.port, called_ae_title="SCP", contexts=contexts) as second:
        assert (await invoke(second, MESSAGES[1], attributes())).status == 0


async def test_a_message_id_that_is_in_use_is_refused(scp: Scp) -> None:
    scp.gate.clear()
    two = AsynchronousOperationsWindow(2, 2)
    there = entity(policy=replace(POLICY, asynchronous_operations_window=two))
    ask = message(CT_ID, NDeleteRq(7, CT, UID))
    async with (
        raw_listening({(CT, NDeleteRq): service(scp)}, entities=[there]) as acceptor,
        raw(acceptor.port) as peer,
    ):
        await peer.associate(two)
        peer.send(ask, ask)
        answers = [await peer.message()]
        scp.gate.set()
        answers.append(await peer.message())
        peer.send(ask)
        answers.append(await peer.message())
    assert [each.status for each in answers] == [0x0210, 0, 0]  # type: ignore[union-attr]
    assert len(scp.asked) == 2


def test_what_a_command_names_is_found_whatever_its_fields_are_called() -> None:
    assert {named_class(message) for message in MESSAGES} == {CLASS}
    assert {named_instance(message) for message in MESSAGES} == {UID}
    assert named_instance(NCreateRq(0, CLASS)) == ""
