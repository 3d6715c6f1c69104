"""Unified Procedure Steps over the wire: statuses of every request, searches, event reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import DataSet, decode, tag_of
from dicomwire.dicom.identifier import parse
from dicomwire.dimse.command import NActionRq, NCreateRq, NEventReportRq, NGetRq, NSetRq
from dicomwire.services import querying
from dicomwire.services.normalized import Answer, Operation, Reply, invoke, service
from dicomwire.services.unified_procedure_step import EVENT, PULL, PUSH, QUERY, WATCH, Scheduler
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.work.workitem import GLOBAL
from tests.services.department import SOON, Department, department, destination, listening, running
from tests.work.steps import without
from tests.work.workitems import TRANSACTION, performed, state, workitem

UID = "1.2.3.4"
OTHER = "1.2.3.98"


@pytest.fixture
async def ris(tmp_path: Path) -> AsyncIterator[Department]:
    def services(store):
        return Scheduler(store, {"WATCHER": None}).services()

    async with department(tmp_path, services) as ris:
        yield ris


async def ask(ris: Department, uid: str, command: object, attributes: DataSet | None = None) -> Reply:
    async with ris.connect(PUSH, WATCH, PULL) as association:
        return await invoke(association, command, attributes, abstract_syntax=uid)  # type: ignore[arg-type]


async def create(ris: Department, **values: str) -> Reply:
    return await ask(ris, PUSH, NCreateRq(0, PUSH, UID), workitem(**values))


async def action(ris: Department, number: int, attributes: DataSet, uid: str = UID, on: str = "") -> Reply:
    context = on or {1: PULL, 2: PUSH}.get(number, WATCH)
    return await ask(ris, context, NActionRq(0, PUSH, uid, number), attributes)


async def test_a_workitem_is_created_taken_updated_and_completed(ris: Department) -> None:
    assert (await create(ris)).status == 0
    assert (await action(ris, 1, state("IN PROGRESS"))).status == 0
    changes = performed().put("TransactionUID", TRANSACTION)
    assert (await ask(ris, PULL, NSetRq(0, PUSH, UID), changes)).status == 0
    assert (await action(ris, 1, state("COMPLETED"))).status == 0
    assert (await action(ris, 1, state("COMPLETED"))).status == 0xB306
    found = await ask(ris, WATCH, NGetRq(0, PUSH, UID))
    assert found.attributes.text("ProcedureStepState") == "COMPLETED"
    assert not found.attributes.has_value("TransactionUID")


RECEIVER = DataSet().put("ReceivingAE", "WATCHER").put("DeletionLock", "TRUE")
STATUSES: dict[str, tuple[str, object, DataSet | None, int]] = {
    "duplicate": (PUSH, NCreateRq(0, PUSH, UID), workitem(), 0x0111),
    "missing": (PUSH, NCreateRq(0, PUSH, OTHER), without(workitem(), "ProcedureStepLabel"), 0x0120),
    "empty": (PUSH, NCreateRq(0, PUSH, OTHER), workitem(ProcedureStepLabel=""), 0x0121),
    "not scheduled": (PUSH, NCreateRq(0, PUSH, OTHER), workitem(ProcedureStepState="COMPLETED"), 0xC309),
    "no UPS": (PULL, NActionRq(0, PUSH, OTHER, 1), state("IN PROGRESS"), 0xC307),
    "set no UPS": (PULL, NSetRq(0, PUSH, OTHER), DataSet().put("ProcedureStepLabel", "x"), 0xC307),
    "get no UPS": (WATCH, NGetRq(0, PUSH, OTHER), None, 0xC307),
    "not in progress": (PULL, NActionRq(0, PUSH, UID, 1), state("COMPLETED"), 0xC310),
    "only created scheduled": (PULL, NActionRq(0, PUSH, UID, 1), state("SCHEDULED"), 0xC303),
    "no transaction": (PULL, NActionRq(0, PUSH, UID, 1), state("IN PROGRESS", ""), 0xC301),
    "a state that is none": (PULL, NActionRq(0, PUSH, UID, 1), state("DONE"), 0x0115),
    "an action of another class": (PUSH, NActionRq(0, PUSH, UID, 1), state("IN PROGRESS"), 0x0123),
    "subscribe": (WATCH, NActionRq(0, PUSH, UID, 3), RECEIVER, 0),
    "subscribe to all": (WATCH, NActionRq(0, PUSH, GLOBAL, 3), RECEIVER, 0),
    "subscribe nobody": (WATCH, NActionRq(0, PUSH, UID, 3), DataSet().put("ReceivingAE", "WHO"), 0xC308),
    "subscribe to nothing": (WATCH, NActionRq(0, PUSH, OTHER, 3), RECEIVER, 0xC307),
    "unsubscribe": (WATCH, NActionRq(0, PUSH, UID, 4), RECEIVER, 0),
    "suspend": (WATCH, NActionRq(0, PUSH, GLOBAL, 5), RECEIVER, 0),
    "suspend one": (WATCH, NActionRq(0, PUSH, UID, 5), RECEIVER, 0xC314),
    "cancel all": (PUSH, NActionRq(0, PUSH, GLOBAL, 2), DataSet(), 0xC314),
    "cancel": (WATCH, NActionRq(0, PUSH, UID, 2), DataSet(), 0),
    "get what is not there": (PUSH, NGetRq(0, PUSH, UID, (tag_of("PatientComments"),)), None, 0x0001),
}


@pytest.mark.parametrize("case", STATUSES)
async def test_statuses(ris: Department, case: str) -> None:
    await create(ris)
    context, command, attributes, code = STATUSES[case]
    reply = await ask(ris, context, command, attributes)
    assert f"{reply.status:04X}" == f"{code:04X}"


async def test_a_performer_has_the_workitem_to_itself(ris: Department) -> None:
    await create(ris)
    await action(ris, 1, state("IN PROGRESS"))
    assert (await action(ris, 1, state("IN PROGRESS"))).status == 0xC302
    assert (await action(ris, 1, state("IN PROGRESS", OTHER))).status == 0xC301
    assert (await action(ris, 1, state("COMPLETED"))).status == 0xC304
    label = DataSet().put("ProcedureStepLabel", "x")
    assert (await ask(ris, PULL, NSetRq(0, PUSH, UID), label)).status == 0xC301
    assert (await action(ris, 1, state("CANCELED"))).status == 0
    assert (await action(ris, 1, state("CANCELED"))).status == 0xB304
    assert (await action(ris, 2, DataSet())).status == 0xB304
    label.put("TransactionUID", TRANSACTION)
    assert (await ask(ris, PULL, NSetRq(0, PUSH, UID), label)).status == 0xC300


@pytest.mark.parametrize("sop_class_uid", [WATCH, PULL, QUERY])
async def test_workitems_are_searched(ris: Department, sop_class_uid: str) -> None:
    await create(ris)
    async with ris.connect(sop_class_uid) as association:
        keys = [parse(key) for key in ("ProcedureStepState=SCHEDULED", "SOPInstanceUID", "PatientName=doe*")]
        matches = [match async for match in querying.find(association, sop_class_uid, keys)]
    (found,) = [decode(match.data, EXPLICIT_VR_LITTLE_ENDIAN) for match in matches]
    assert (found.text("SOPInstanceUID"), found.text("PatientName")) == (UID, "Doe^Jane")


async def test_events_are_reported_over_an_association_of_their_own(tmp_path: Path) -> None:
    told: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def take(operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NEventReportRq)
        told.put_nowait((command.event_type_id, operation.attributes.text("ProcedureStepState")))
        return Answer()

    watching = {(EVENT, NEventReportRq): service(take, sop_classes=frozenset({PUSH}))}
    async with listening(watching, scp_roles=[EVENT]) as watcher:
        destinations = {"WATCHER": destination("WATCHER", watcher.port)}
        schedulers: list[Scheduler] = []

        def services(store):
            schedulers.append(Scheduler(store, destinations))
            return schedulers[0].services()

        async with department(tmp_path, services) as ris, running(ris.store, schedulers[0].kinds()):
            await action(ris, 3, RECEIVER, GLOBAL)
            await create(ris)
            await action(ris, 2, DataSet())
            async with asyncio.timeout(SOON):
                events = [await told.get() for _ in range(3)]
    assert events == [(1, "SCHEDULED"), (1, "IN PROGRESS"), (1, "CANCELED")]
