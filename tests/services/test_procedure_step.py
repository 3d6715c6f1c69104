"""MPPS over the wire: statuses and error fields, retrieval, repetition, notification."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import DataSet, tag_of
from dicomwire.dimse.command import NActionRq, NCreateRq, NEventReportRq, NGetRq, NSetRq
from dicomwire.services import procedure_step
from dicomwire.services.normalized import LIMIT, Answer, Operation, Reply, invoke, service
from dicomwire.services.procedure_step import MPPS, NOTIFICATION, RETRIEVE
from dicomwire.work import ups
from dicomwire.work.jobs import State
from dicomwire.work.procedure_steps import Followers
from tests.services.department import Department, department, destination, listening, running, until
from tests.work.steps import beginning, end, without
from tests.work.workitems import workitem

UID = "1.2.3"
FOLLOWERS = Followers(forward=("OTHER",), notify=("WORKSTATION",))


@pytest.fixture
async def ris(tmp_path: Path) -> AsyncIterator[Department]:
    async with department(tmp_path, lambda store: procedure_step.services(store, Followers())) as ris:
        yield ris


async def ask(ris: Department, command: object, attributes: DataSet | None = None) -> Reply:
    async with ris.connect(MPPS, RETRIEVE) as association:
        return await invoke(association, command, attributes)  # type: ignore[arg-type]


async def test_a_step_is_created_ended_and_retrieved(ris: Department) -> None:
    created = await ask(ris, NCreateRq(0, MPPS, UID), beginning())
    assert (created.status, created.command.affected_sop_instance_uid) == (0, UID)
    assert created.command.affected_sop_class_uid == MPPS
    assert (await ask(ris, NSetRq(0, MPPS, UID), end())).status == 0
    found = await ask(ris, NGetRq(0, RETRIEVE, UID))
    assert found.status == 0
    assert found.attributes.text("PerformedProcedureStepStatus") == "COMPLETED"
    assert found.attributes.text("PatientName") == "Doe^Jane"


async def test_a_step_without_a_uid_gets_one(ris: Department) -> None:
    created = await ask(ris, NCreateRq(0, MPPS), beginning())
    uid = created.command.affected_sop_instance_uid
    assert uid is not None
    assert uid.startswith("2.25.")
    assert (await ask(ris, NSetRq(0, MPPS, uid), end())).status == 0


async def test_a_step_may_name_itself_in_its_attributes(ris: Department) -> None:
    created = await ask(ris, NCreateRq(0, MPPS), beginning().put("SOPInstanceUID", "1.2.77"))
    assert created.command.affected_sop_instance_uid == "1.2.77"
    refused = await ask(ris, NCreateRq(0, MPPS), beginning().put("SOPInstanceUID", "1..2"))
    assert refused.status == 0x0117


WORKITEM = "1.2.9"
REFUSED: dict[str, tuple[object, DataSet | None, int, dict[str, object]]] = {
    "attributes of type 1 are missing": (
        NCreateRq(0, MPPS, "1.2.4"),
        without(beginning(), "Modality"),
        0x0120,
        {"attribute_identifier_list": (tag_of("Modality"),)},
    ),
    "no data set at all": (NCreateRq(0, MPPS, "1.2.4"), None, 0x0120, {}),
    "an attribute of type 1 is empty": (
        NCreateRq(0, MPPS, "1.2.4"),
        beginning().put("Modality"),
        0x0121,
        {"attribute_identifier_list": (tag_of("Modality"),)},
    ),
    "a step that begins completed": (
        NCreateRq(0, MPPS, "1.2.4"),
        beginning().put("PerformedProcedureStepStatus", "COMPLETED"),
        0x0106,
        {"attribute_identifier_list": (tag_of("PerformedProcedureStepStatus"),)},
    ),
    "a step that exists": (NCreateRq(0, MPPS, UID), beginning(), 0x0111, {"affected_sop_instance_uid": UID}),
    "no UID": (NCreateRq(0, MPPS, "1..2"), beginning(), 0x0117, {"affected_sop_instance_uid": None}),
    "another SOP class": (NCreateRq(0, "1.2.840.10008.1.1", "1.2.4"), beginning(), 0x0118, {}),
    "a step that is not there": (NSetRq(0, MPPS, "1.2.4"), end(), 0x0112, {}),
    "a step that has ended": (NSetRq(0, MPPS, UID), end(), 0x0110, {"error_id": 0xA710}),
    "an attribute that should be a sequence": (
        NCreateRq(0, MPPS, "1.2.4"),
        beginning().put("ScheduledStepAttributesSequence", "1.2", vr="UI"),
        0x0212,
        {"attribute_identifier_list": (tag_of("ScheduledStepAttributesSequence"),)},
    ),
    "an attribute that should be none": (
        NCreateRq(0, MPPS, "1.2.4"),
        beginning().put("Modality", DataSet(), vr="SQ"),
        0x0212,
        {"attribute_identifier_list": (tag_of("Modality"),)},
    ),
    "a workitem": (NSetRq(0, MPPS, WORKITEM), end(), 0x0119, {"affected_sop_instance_uid": WORKITEM}),
    "a step to retrieve that is not there": (NGetRq(0, RETRIEVE, "1.2.4"), None, 0x0112, {}),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refusals_have_the_standard_s_status_and_change_nothing(ris: Department, case: str) -> None:
    await ask(ris, NCreateRq(0, MPPS, UID), beginning())
    await ask(ris, NSetRq(0, MPPS, UID), end())
    await ris.store.change(lambda change: ups.create(change, WORKITEM, workitem(), now=1.0))
    before = ris.store.rows("SELECT * FROM procedure_step")
    command, attributes, code, fields = REFUSED[case]
    async with ris.connect(MPPS, RETRIEVE) as association:
        reply = await invoke(
            association,
            command,  # type: ignore[arg-type]
            attributes,
            abstract_syntax=RETRIEVE if isinstance(command, NGetRq) else MPPS,
        )
        assert association.ended is None
    assert f"{reply.status:04X}" == f"{code:04X}"
    assert reply.command.error_comment
    assert {name: getattr(reply.command, name) for name in fields} == fields
    assert ris.store.rows("SELECT * FROM procedure_step") == before


async def test_only_what_is_asked_for_is_retrieved_and_what_is_lacking_is_told(ris: Department) -> None:
    await ask(ris, NCreateRq(0, MPPS, UID), beginning())
    wanted = (tag_of("PatientID"), tag_of("PerformedProcedureStepStatus"))
    found = await ask(ris, NGetRq(0, RETRIEVE, UID, wanted))
    assert (found.status, set(found.attributes)) == (0, set(wanted))
    found = await ask(ris, NGetRq(0, RETRIEVE, UID, (*wanted, tag_of("Rows"))))
    assert (found.status, set(found.attributes)) == (0x0001, set(wanted))
    assert found.command.attribute_identifier_list == (tag_of("Rows"),)


async def test_messages_that_mpps_does_not_have_are_not_recognized(ris: Department) -> None:
    assert (await ask(ris, NActionRq(0, MPPS, UID, 1))).status == 0x0211


@pytest.mark.parametrize("data", [b"\x08\x00", b"\x10\x00\x10\x00PN\xff\x7fDoe"])
async def test_a_data_set_that_is_cut_is_refused_and_the_association_lives_on(
    ris: Department, data: bytes
) -> None:
    async with ris.connect(MPPS) as association:
        command = NCreateRq(0, MPPS, UID, data_set=True)
        response = await association.request(1, command, [data])
        assert (response.status, str(response.command.error_comment)[:23]) == (
            0x0110,
            "Data set cannot be read",
        )
        assert (await invoke(association, NCreateRq(0, MPPS, UID), beginning())).status == 0


async def test_an_attribute_list_beyond_the_limit_is_refused(ris: Department) -> None:
    async with ris.connect(MPPS) as association:
        command = NCreateRq(0, MPPS, UID, data_set=True)
        response = await association.request(1, command, [bytes(LIMIT + 2)])
        assert response.status == 0x0213


async def test_a_store_that_cannot_commit_is_a_lack_of_resources(
    ris: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ris.store.change(lambda change: change.rows("PRAGMA max_page_count = 1"))
    reply = await ask(ris, NCreateRq(0, MPPS, UID), beginning().put("PatientComments", "x" * 9000))
    assert reply.status == 0x0213
    await ris.store.change(lambda change: change.rows("PRAGMA max_page_count = 100000"))
    assert (await ask(ris, NCreateRq(0, MPPS, UID), beginning())).status == 0


async def test_steps_are_repeated_and_reported_to_those_who_follow(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    async def report(operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NEventReportRq)
        told.append((operation.attributes.text("PerformedProcedureStepStatus"), command.event_type_id))
        return Answer()

    (tmp_path / "other").mkdir()
    workstation = listening({(NOTIFICATION, NEventReportRq): service(report)}, scp_roles=[NOTIFICATION])
    async with (
        department(tmp_path, lambda store: procedure_step.services(store, FOLLOWERS)) as ris,
        department(tmp_path / "other", lambda store: procedure_step.services(store, Followers())) as other,
        workstation as listener,
    ):
        destinations = {
            "OTHER": destination("OTHER", other.acceptor.port),
            "WORKSTATION": destination("WORKSTATION", listener.port),
        }
        await ask(ris, NCreateRq(0, MPPS, UID), beginning())
        comment = DataSet().put("CommentsOnThePerformedProcedureStep", "Ä")
        await ask(ris, NSetRq(0, MPPS, UID), comment.put("SpecificCharacterSet", "ISO_IR 100"))
        await ask(ris, NSetRq(0, MPPS, UID), end("DISCONTINUED"))
        async with running(ris.store, procedure_step.kinds(destinations)):
            await until(ris.store, State.DONE, 6)
        found = await ask(other, NGetRq(0, RETRIEVE, UID))
        assert found.attributes.text("PerformedProcedureStepStatus") == "DISCONTINUED"
        assert found.attributes.text("CommentsOnThePerformedProcedureStep") == "Ä"
    assert told == [("IN PROGRESS", 1), ("IN PROGRESS", 4), ("DISCONTINUED", 3)]


async def test_what_a_follower_refuses_for_good_is_a_dead_letter(tmp_path: Path) -> None:
    async def refuse(operation: Operation) -> Answer:
        return Answer(0x0120, "Missing: nothing really")

    async with (
        department(tmp_path, lambda store: procedure_step.services(store, Followers(("OTHER",)))) as ris,
        listening({(MPPS, NCreateRq): service(refuse)}) as listener,
    ):
        await ask(ris, NCreateRq(0, MPPS, UID), beginning())
        async with running(ris.store, procedure_step.kinds({"OTHER": destination("OTHER", listener.port)})):
            await until(ris.store, State.FAILED, 1)
        ((reason,),) = ris.store.rows("SELECT reason FROM job")
        assert "0120H Missing attribute: Missing: nothing really" in str(reason)


async def test_a_follower_that_is_away_gets_it_all_when_it_is_back(tmp_path: Path) -> None:
    arrived: list[str] = []

    async def keep(operation: Operation) -> Answer:
        arrived.append(type(operation.command).__name__)
        return Answer()

    async with department(
        tmp_path, lambda store: procedure_step.services(store, Followers(("OTHER",)))
    ) as ris:
        async with listening({(MPPS, NCreateRq): service(keep)}) as gone:
            port = gone.port
        calls = {"OTHER": destination("OTHER", port)}
        await ask(ris, NCreateRq(0, MPPS, UID), beginning())
        await ask(ris, NSetRq(0, MPPS, UID), end())
        tried = asyncio.Event()
        forward = procedure_step.kinds(calls)

        async def counted(batch: object, run: object) -> object:
            tried.set()
            return await run(batch)  # type: ignore[operator]

        kinds = {
            name: type(kind)(partial(counted, run=kind.run), kind.most) for name, kind in forward.items()
        }
        async with running(ris.store, kinds):  # type: ignore[arg-type]
            await tried.wait()
            services = {(MPPS, NCreateRq): service(keep), (MPPS, NSetRq): service(keep)}
            async with listening(services) as back:
                calls["OTHER"] = destination("OTHER", back.port)
                await until(ris.store, State.DONE, 2)
    assert arrived == ["NCreateRq", "NSetRq"]
