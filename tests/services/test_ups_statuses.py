"""Every status of the tables of PS3.4 CC.2 but those of C-FIND, by a request that is answered with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import DataSet
from dicomwire.dimse._status import STATUS_CODES
from dicomwire.dimse.command import NActionRq, NCreateRq, NEventReportRq, NGetRq, NSetRq, Request
from dicomwire.services.normalized import Answer, Operation, Reply, invoke, service
from dicomwire.services.unified_procedure_step import EVENT, PULL, PUSH, WATCH, Scheduler
from dicomwire.work.ups_rules import OnCancel, Policy
from dicomwire.work.workitem import FILTERED, GLOBAL
from tests.services.department import SOON, Department, department, destination, listening, running
from tests.work.workitems import TRANSACTION, performed, state, workitem

UID, OTHER = "1.2.3.4", "1.2.3.98"
CHANGE, CANCEL, SUBSCRIPTION = (
    "N-ACTION 1 Change UPS State", "N-ACTION 2 Request UPS Cancel", "N-ACTION 3/4/5 UPS subscription",
)  # fmt: skip
CREATE, SET, GET = "N-CREATE (UPS Push)", "N-SET (UPS Pull)", "N-GET (UPS)"
LABEL = DataSet().put("ProcedureStepLabel", "Other")
OWN_LABEL = DataSet().put("ProcedureStepLabel", "Other").put("TransactionUID", TRANSACTION)
RECEIVER = DataSet().put("ReceivingAE", "WATCHER").put("DeletionLock", "TRUE")


@dataclass(frozen=True)
class Case:
    """One row: its table and code, the state before, and the request."""

    table: str
    code: int
    before: str
    command: Request
    attributes: DataSet | None
    policy: Policy = Policy()  # noqa: RUF009 it is frozen

    @property
    def context(self) -> str:
        if isinstance(self.command, NActionRq):
            return {1: PULL, 2: PUSH}.get(self.command.action_type_id, WATCH)
        return {NCreateRq: PUSH, NSetRq: PULL, NGetRq: WATCH}[type(self.command)]

    def __str__(self) -> str:
        return f"{self.table} {self.code:04X} in {self.before}"


def change(code: int, before: str, wanted: str, transaction_uid: str = TRANSACTION, uid: str = UID) -> Case:
    return Case(CHANGE, code, before, NActionRq(0, PUSH, uid, 1), state(wanted, transaction_uid))


def cancel(code: int, before: str, on_cancel: OnCancel = OnCancel.REPORT, uid: str = UID) -> Case:
    return Case(CANCEL, code, before, NActionRq(0, PUSH, uid, 2), DataSet(), Policy(on_cancel=on_cancel))


def subscription(code: int, number: int, uid: str, attributes: DataSet = RECEIVER, **policy: bool) -> Case:
    command = NActionRq(0, PUSH, uid, number)
    return Case(SUBSCRIPTION, code, "SCHEDULED", command, attributes, Policy(**policy))


CASES = [
    Case(CREATE, 0x0000, "null", NCreateRq(0, PUSH, UID), workitem()),
    Case(CREATE, 0xB300, "null", NCreateRq(0, PUSH, UID), workitem(ScheduledProcedureStepPriority="high")),
    Case(CREATE, 0xC309, "null", NCreateRq(0, PUSH, UID), workitem(ProcedureStepState="IN PROGRESS")),
    Case(CREATE, 0x0111, "SCHEDULED", NCreateRq(0, PUSH, UID), workitem()),
    Case(CREATE, 0x0111, "null", NCreateRq(0, PUSH, GLOBAL), workitem()),
    Case(CREATE, 0x0105, "null", NCreateRq(0, PUSH, UID), workitem().put(
        "ProcedureStepProgressInformationSequence", DataSet().put("ProcedureStepProgress", "5"))),
    Case(CREATE, 0x0106, "null", NCreateRq(0, PUSH, UID), workitem(InputReadinessState="LATER")),
    Case(CREATE, 0x0120, "null", NCreateRq(0, PUSH, UID), LABEL),
    Case(CREATE, 0x0121, "null", NCreateRq(0, PUSH, UID), workitem(ProcedureStepLabel="")),
    Case(SET, 0x0000, "SCHEDULED", NSetRq(0, PUSH, UID), LABEL),
    Case(SET, 0x0000, "IN PROGRESS", NSetRq(0, PUSH, UID), OWN_LABEL),
    Case(SET, 0xB305, "SCHEDULED", NSetRq(0, PUSH, UID), DataSet().put("InputReadinessState", "ready")),
    Case(SET, 0xC300, "COMPLETED", NSetRq(0, PUSH, UID), OWN_LABEL),
    Case(SET, 0xC300, "CANCELED", NSetRq(0, PUSH, UID), OWN_LABEL),
    Case(SET, 0xC301, "IN PROGRESS", NSetRq(0, PUSH, UID), LABEL),
    Case(SET, 0xC303, "IN PROGRESS", NSetRq(0, PUSH, UID), state("SCHEDULED")),
    Case(SET, 0xC307, "null", NSetRq(0, PUSH, UID), LABEL),
    Case(SET, 0xC310, "SCHEDULED", NSetRq(0, PUSH, UID), OWN_LABEL),
    Case(SET, 0x0105, "SCHEDULED", NSetRq(0, PUSH, UID), DataSet().put("PatientID", "P9")),
    Case(SET, 0x0106, "SCHEDULED", NSetRq(0, PUSH, UID), DataSet().put("InputReadinessState", "LATER")),
    Case(SET, 0x0121, "SCHEDULED", NSetRq(0, PUSH, UID), DataSet().put("ProcedureStepLabel")),
    Case(GET, 0x0000, "SCHEDULED", NGetRq(0, PUSH, UID), None),
    Case(GET, 0x0001, "SCHEDULED", NGetRq(0, PUSH, UID, (0x00104000,)), None),
    Case(GET, 0xC307, "null", NGetRq(0, PUSH, UID), None),
    change(0x0000, "SCHEDULED", "IN PROGRESS"),
    change(0x0000, "IN PROGRESS", "CANCELED"),
    change(0xB304, "CANCELED", "CANCELED"),
    change(0xB306, "COMPLETED", "COMPLETED"),
    change(0xC300, "COMPLETED", "IN PROGRESS"),
    change(0xC300, "CANCELED", "COMPLETED"),
    change(0xC300, "COMPLETED", "CANCELED"),
    change(0xC301, "SCHEDULED", "IN PROGRESS", ""),
    change(0xC301, "IN PROGRESS", "COMPLETED", OTHER),
    change(0xC301, "COMPLETED", "CANCELED", OTHER),
    change(0xC302, "IN PROGRESS", "IN PROGRESS"),
    change(0xC303, "SCHEDULED", "SCHEDULED"),
    change(0xC303, "IN PROGRESS", "SCHEDULED"),
    change(0xC304, "IN PROGRESS", "COMPLETED"),
    change(0xC307, "null", "IN PROGRESS"),
    change(0xC310, "SCHEDULED", "COMPLETED"),
    change(0xC310, "SCHEDULED", "CANCELED"),
    change(0x0115, "SCHEDULED", "DONE"),
    cancel(0x0000, "SCHEDULED"),
    cancel(0x0000, "IN PROGRESS"),
    cancel(0xB304, "CANCELED"),
    cancel(0xC307, "null"),
    cancel(0xC311, "COMPLETED"),
    cancel(0xC312, "IN PROGRESS", OnCancel.CONTACT),
    cancel(0xC313, "IN PROGRESS", OnCancel.REFUSE),
    subscription(0x0000, 3, UID),
    subscription(0x0000, 3, GLOBAL),
    subscription(0x0000, 4, UID),
    subscription(0x0000, 5, GLOBAL),
    subscription(0xB301, 3, UID, deletion_locks=False),
    subscription(0xB301, 3, GLOBAL, deletion_locks=False),
    subscription(0xC307, 3, OTHER),
    subscription(0xC307, 4, OTHER),
    subscription(0xC308, 3, UID, DataSet().put("ReceivingAE", "STRANGER")),
    subscription(0xC314, 5, UID),
    subscription(0xC315, 3, UID, events=False),
    subscription(0xC315, 4, UID, events=False),
    subscription(0xC315, 5, GLOBAL, events=False),
    subscription(0x0115, 3, UID, DataSet().put("ReceivingAE", "WATCHER").put("DeletionLock", "MAYBE")),
    subscription(0x0115, 3, FILTERED, DataSet().put("ReceivingAE", "WATCHER").put(
        "ScheduledProcedureStepStartDateTime", "soon")),
]  # fmt: skip


def test_every_status_of_the_tables_has_a_case() -> None:
    known = {(row[0], int(row[2], 16)) for row in STATUS_CODES if "CC.2" in row[5] and "C-FIND" not in row[0]}
    known.remove((SET, 0x0001))  # there is no optional attribute that is not supported
    assert known <= {(case.table, case.code) for case in CASES}


async def ask(ris: Department, context: str, command: Request, attributes: DataSet | None) -> Reply:
    async with ris.connect(PUSH, WATCH, PULL) as association:
        return await invoke(association, command, attributes, abstract_syntax=context)


async def reach(ris: Department, wanted: str) -> None:
    """Bring a workitem into a state."""
    steps: list[tuple[str, str, Request, DataSet]] = [
        ("SCHEDULED", PUSH, NCreateRq(0, PUSH, UID), workitem()),
        ("IN PROGRESS", PULL, NActionRq(0, PUSH, UID, 1), state("IN PROGRESS")),
        ("", PULL, NSetRq(0, PUSH, UID), performed().put("TransactionUID", TRANSACTION)),
        (wanted, PULL, NActionRq(0, PUSH, UID, 1), state(wanted)),
    ]
    for reached, context, command, attributes in steps if wanted != "null" else ():
        assert (await ask(ris, context, command, attributes)).status == 0
        if reached == wanted:
            return


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_statuses(tmp_path: Path, case: Case) -> None:
    scheduler: Callable[..., object] = lambda store: Scheduler(  # noqa: E731
        store, {"WATCHER": None}, case.policy
    ).services()
    async with department(tmp_path, scheduler) as ris:  # type: ignore[arg-type]
        await reach(ris, case.before)
        tables = ("workitem", "workitem_subscriber", "worklist_subscriber", "job")
        before = [ris.store.rows(f"SELECT * FROM {table}") for table in tables]
        reply = await ask(ris, case.context, case.command, case.attributes)
        assert f"{reply.status:04X}" == f"{case.code:04X}"
        if not reply.performed:
            assert reply.command.error_comment
            assert [ris.store.rows(f"SELECT * FROM {table}") for table in tables] == before


async def test_what_was_coerced_comes_back(tmp_path: Path) -> None:
    async with department(tmp_path, lambda store: Scheduler(store, {}).services()) as ris:
        sent = workitem(ScheduledProcedureStepPriority="high")
        reply = await ask(ris, PUSH, NCreateRq(0, PUSH, UID), sent)
        assert reply.attributes == DataSet().put("ScheduledProcedureStepPriority", "HIGH")


async def test_a_subscriber_hears_of_a_stop_and_a_start(tmp_path: Path) -> None:
    told: asyncio.Queue[tuple[str, int, DataSet]] = asyncio.Queue()

    async def take(operation: Operation) -> Answer:
        command = operation.command
        assert isinstance(command, NEventReportRq)
        told.put_nowait((operation.sop_instance_uid, command.event_type_id, operation.attributes))
        return Answer()

    watching = {(EVENT, NEventReportRq): service(take, sop_classes=frozenset({PUSH}))}
    async with listening(watching, scp_roles=[EVENT]) as watcher:
        schedulers: list[Scheduler] = []

        def services(store):
            schedulers.append(Scheduler(store, {"WATCHER": destination("WATCHER", watcher.port)}))
            return schedulers[0].services()

        async with department(tmp_path, services) as ris, running(ris.store, schedulers[0].kinds()):
            assert (await ask(ris, WATCH, NActionRq(0, PUSH, GLOBAL, 3), RECEIVER)).status == 0
            async with asyncio.timeout(SOON):
                await schedulers[0].stop(1.0)
                down = await told.get()
                await schedulers[0].start()
                up = await told.get()
    assert down == (GLOBAL, 4, DataSet().put("SCPStatus", "GOING DOWN"))
    assert up[:2] == (GLOBAL, 4)
    assert up[2].text("SCPStatus") == "RESTARTED"
    assert up[2].text("SubscriptionListStatus") == "WARM START"
    assert up[2].text("UnifiedProcedureStepListStatus") == "WARM START"
