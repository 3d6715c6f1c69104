"""Unified Procedure Steps: `dicomwire ups` with both doors of a node, and with pynetdicom in every role."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
)

from benchmarks.receivers import Dicomwire, free_port
from dicomwire.dicom.data_set import DataSet, to_json
from tests.interop.conftest import StartNode
from tests.interop.support import Node, run
from tests.work.workitems import TRANSACTION, performed, workitem

UID = "1.2.3.4"
GLOBAL = "1.2.840.10008.5.1.4.34.5"
SOON = 20.0  # seconds
CLASSES = (
    UnifiedProcedureStepPush,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepWatch,
    UnifiedProcedureStepQuery,
)


@pytest.fixture(params=["dimse", "web"])
def door(node: Node, request: pytest.FixtureRequest) -> str:
    """How `dicomwire ups` names a node."""
    return node.address if request.param == "dimse" else f"http://127.0.0.1:{node.http_port}/dicom-web"


@pytest.fixture
def attributes(tmp_path: Path) -> Path:
    path = tmp_path / "workitem.json"
    path.write_text(f"[{to_json(workitem())}]")
    return path


@pytest.fixture
def done(tmp_path: Path) -> Path:
    path = tmp_path / "performed.json"
    path.write_text(to_json(performed()))
    return path


def ups(peer: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run("dicomwire", "ups", "--json", peer, *arguments)


def test_a_workitem_goes_its_way_through_either_door(door: str, attributes: Path, done: Path) -> None:
    named, own = ("--uid", UID), ("--uid", UID, "--transaction", TRANSACTION)
    made = ups(door, "create", *named, "--file", attributes, "WorklistLabel=HEAD")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["sop_instance_uid"] == UID
    (found,) = json.loads(
        ups(door, "search", "WorklistLabel=HE*", "ProcedureStepState", "SOPInstanceUID").stdout
    )
    assert (found["00080018"]["Value"], found["00741000"]["Value"]) == ([UID], ["SCHEDULED"])
    assert json.loads(ups(door, "search", "WorklistLabel=FOOT").stdout) == []
    assert ups(door, "set", *named, "ProcedureStepLabel=Other").returncode == 0
    assert ups(door, "take", *own).returncode == 0
    refused = ups(door, "set", *named, "ProcedureStepLabel=Third")
    assert (refused.returncode, json.loads(refused.stdout)["status"]) in [(1, "C301"), (1, "400")]
    assert json.loads(ups(door, "complete", *own).stdout)["status"] in ("C304", "409")
    assert ups(door, "set", *own, "--file", done).returncode == 0
    assert ups(door, "complete", *own).returncode == 0
    again = json.loads(ups(door, "complete", *own).stdout)
    assert again["performed"]
    assert "already in the requested state" in again["words"]
    seen = json.loads(ups(door, "get", *named, "ProcedureStepState", "ProcedureStepLabel").stdout)[
        "attributes"
    ]
    assert seen["00741000"]["Value"] == ["COMPLETED"]
    assert seen["00741204"]["Value"] == ["Other"]
    assert "00741200" not in seen
    assert json.loads(ups(door, "request-cancel", *named).stdout)["status"] in ("C311", "409")


WRONG = {
    "no UID": ("get",),
    "no transaction": ("complete", "--uid", UID),
    "a key that is none": ("create", "Nonsense=1"),
    "a file that is none": ("create", "--file", "/nowhere.json"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_says_so(case: str) -> None:
    found = ups("ANY@127.0.0.1:9", *WRONG[case])
    assert (found.returncode, bool(found.stderr)) == (2, True)


@contextmanager
def watching(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`dicomwire ups` that prints events, once it has subscribed."""
    command = [Dicomwire.program(), "ups", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "subscribed" in process.stderr.readline()
        yield process
        process.wait(SOON)


def test_events_come_over_the_web(node: Node, attributes: Path) -> None:
    url = f"http://127.0.0.1:{node.http_port}/dicom-web"
    with watching(url, "watch", "WorklistLabel=THORAX", "--receiver", "VIEWER", "--count", "3") as process:
        assert ups(url, "create", "--uid", UID, "--file", attributes).returncode == 0
        assert ups(url, "create", "--file", attributes, "WorklistLabel=OTHER").returncode == 0
        assert ups(url, "request-cancel", "--uid", UID, "ReasonForCancellation=moved").returncode == 0
        told = states(process)
    assert told == [(UID, "STATE", "SCHEDULED"), (UID, "STATE", "IN PROGRESS"), (UID, "STATE", "CANCELED")]
    assert ups(url, "unsubscribe", "--receiver", "VIEWER").returncode == 1  # watch has done it


def test_events_come_over_dimse(node_with_peers: Callable[..., Node], attributes: Path) -> None:
    port = free_port()
    node = node_with_peers({"WATCHER": port})
    arguments = ("watch", "--receiver", "WATCHER", "--listen", f"127.0.0.1:{port}", "--count", "2")
    with watching(node.address, *arguments) as process:
        assert ups(node.address, "create", "--uid", UID, "--file", attributes).returncode == 0
        assert ups(node.address, "take", "--uid", UID).returncode == 0
        told = states(process)
    assert told == [(UID, "STATE", "SCHEDULED"), (UID, "STATE", "IN PROGRESS")]


def states(process: subprocess.Popen[str]) -> list[tuple[str, str, str]]:
    assert process.stdout is not None
    reports = [json.loads(line) for line in process.stdout]
    return [
        (each["sop_instance_uid"], each["event"], each["attributes"]["00741000"]["Value"][0])
        for each in reports
    ]


def test_a_wait_for_events_ends(node: Node) -> None:
    url = f"http://127.0.0.1:{node.http_port}/dicom-web"
    found = ups(url, "events", "--wait", "0.5", "--count", "1")
    assert (found.returncode, "0 of 1 events" in found.stderr) == (1, True)
    assert ups(url, "events", "--wait", "0.5").returncode == 0


# pynetdicom


@contextmanager
def pynetdicom_scp(handlers: dict[object, object]) -> Iterator[int]:
    """A UPS SCP on a port of its own."""
    entity = AE("PYNETDICOM")
    for each in CLASSES:
        entity.add_supported_context(each)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=list(handlers.items()),  # type: ignore[arg-type]
    )
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        for association in server.active_associations:
            association.join(SOON)
        server.shutdown()


def test_the_command_works_with_pynetdicom(attributes: Path) -> None:
    kept: dict[str, Dataset] = {}
    asked: list[tuple[int, str, Dataset]] = []

    def create(event: Event) -> tuple[int, Dataset | None]:
        kept[event.request.AffectedSOPInstanceUID] = event.attribute_list
        return 0x0000, None

    def change(event: Event) -> tuple[int, Dataset | None]:
        kept[event.request.RequestedSOPInstanceUID].update(event.modification_list)
        return 0x0000, None

    def get(event: Event) -> tuple[int, Dataset | None]:
        found = kept.get(event.request.RequestedSOPInstanceUID)
        return (0xC307, None) if found is None else (0x0000, found)

    def act(event: Event) -> tuple[int, Dataset | None]:
        asked.append((event.action_type, event.request.RequestedSOPInstanceUID, event.action_information))
        return (0xC302 if event.action_type == 1 else 0x0000), None

    def find(event: Event) -> Iterator[tuple[int, Dataset]]:
        yield from ((0xFF00, each) for each in kept.values())

    handlers: dict[object, object] = {
        evt.EVT_N_CREATE: create,
        evt.EVT_N_SET: change,
        evt.EVT_N_GET: get,
        evt.EVT_N_ACTION: act,
        evt.EVT_C_FIND: find,
    }
    with pynetdicom_scp(handlers) as port:
        peer = f"PYNETDICOM@127.0.0.1:{port}"
        assert ups(peer, "create", "--uid", UID, "--file", attributes).returncode == 0
        assert ups(peer, "set", "--uid", UID, "ProcedureStepLabel=Other").returncode == 0
        seen = json.loads(ups(peer, "get", "--uid", UID).stdout)["attributes"]
        (found,) = json.loads(ups(peer, "search", "PatientID=P1", "ProcedureStepLabel").stdout)
        taken = ups(peer, "take", "--uid", UID)
        assert ups(peer, "subscribe", "--receiver", "W1", "--lock").returncode == 0
        assert ups(peer, "request-cancel", "--uid", UID).returncode == 0
        assert ups(peer, "suspend", "--receiver", "W1").returncode == 0
        unknown = ups(peer, "get", "--uid", "1.9")
    assert seen["00741204"]["Value"] == found["00741204"]["Value"] == ["Other"]
    assert (taken.returncode, json.loads(taken.stdout)["status"]) == (1, "C302")
    assert json.loads(unknown.stdout)["status"] == "C307"
    assert [(action, uid) for action, uid, _ in asked] == [(1, UID), (3, GLOBAL), (2, UID), (5, GLOBAL)]
    assert (asked[1][2].ReceivingAE, asked[1][2].DeletionLock) == ("W1", "TRUE")


def test_pynetdicom_reports_events_to_the_command() -> None:
    port = free_port()
    statuses: list[int] = []

    def report() -> None:
        entity = AE("PYNETDICOM")
        entity.add_requested_context(UnifiedProcedureStepEvent)
        role = build_role(UnifiedProcedureStepEvent, scp_role=True)
        event = Dataset.from_json(to_json(DataSet().put("ProcedureStepState", "IN PROGRESS")))
        association = entity.associate("127.0.0.1", port, ae_title="WATCHER", ext_neg=[role])
        assert association.is_established
        for kind in (9, 1):
            status, _ = association.send_n_event_report(
                event, kind, UnifiedProcedureStepPush, UID, meta_uid=UnifiedProcedureStepEvent
            )
            statuses.append(int(status.Status))
        association.release()

    with pynetdicom_scp({evt.EVT_N_ACTION: lambda event: (0x0000, None)}) as scp:
        peer = f"PYNETDICOM@127.0.0.1:{scp}"
        arguments = ("watch", "--receiver", "WATCHER", "--listen", f"127.0.0.1:{port}", "--count", "1")
        with watching(peer, *arguments) as process:
            reporter = threading.Thread(target=report)
            reporter.start()
            told = states(process)
            reporter.join(SOON)
    assert told == [(UID, "STATE", "IN PROGRESS")]
    assert statuses == [0x0113, 0x0000]


def test_what_has_ended_goes_unless_it_is_locked(start_node: StartNode, attributes: Path) -> None:
    node = start_node(DICOMWIRE_UPS__KEEP="0.001")
    url = f"http://127.0.0.1:{node.http_port}/dicom-web"
    for uid in ("1.2.1", "1.2.2"):
        assert ups(url, "create", "--uid", uid, "--file", attributes).returncode == 0
    assert ups(url, "subscribe", "--uid", "1.2.2", "--receiver", "KEEPER", "--lock").returncode == 0
    for uid in ("1.2.1", "1.2.2"):
        assert ups(url, "request-cancel", "--uid", uid).returncode == 0
    node.stop()
    node.start()
    assert json.loads(ups(url, "get", "--uid", "1.2.1").stdout)["status"] == "410"
    assert json.loads(ups(node.address, "get", "--uid", "1.2.1").stdout)["status"] == "C307"
    assert ups(url, "get", "--uid", "1.2.2").returncode == 0
    told = ups(url, "events", "--receiver", "KEEPER", "--count", "4")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [each["event"] for each in events] == ["STATE", "STATE", "STATE", "SCP_STATUS"]
    assert events[3]["attributes"]["00741242"]["Value"] == ["RESTARTED"]
    assert ups(url, "unsubscribe", "--uid", "1.2.2", "--receiver", "KEEPER").returncode == 0
    assert ups(url, "create", "--uid", "1.2.1", "--file", attributes).returncode == 0


LIMITED = '[ups]\ndeletion_locks = false\non_cancel = "contact"\n'
SILENT = '[ups]\nevents = false\non_cancel = "refuse"\n'


@pytest.mark.parametrize(
    ("settings", "answers"),
    [
        (LIMITED, {"create": 0xB300, "set": 0xB305, "subscribe": 0xB301, "cancel": 0xC312}),
        (SILENT, {"create": 0xB300, "set": 0xB305, "subscribe": 0xC315, "cancel": 0xC313}),
    ],
    ids=["limited", "silent"],
)
def test_pynetdicom_is_told_what_was_not_done_as_it_was_asked_for(
    node_with_peers: Callable[..., Node], settings: str, answers: dict[str, int]
) -> None:
    """It lets go of all workitems again, so that nobody watches when the cancel is asked for."""
    node = node_with_peers({"WATCHER": free_port()}, settings)
    ae = AE("PERFORMER")
    for abstract_syntax in CLASSES:
        ae.add_requested_context(abstract_syntax)
    association = ae.associate("127.0.0.1", node.dimse_port, ae_title=Dicomwire.ae_title)
    push, pull, watch = CLASSES[:3]
    started = data_set(DataSet().put("ProcedureStepState", "IN PROGRESS").put("TransactionUID", TRANSACTION))
    lower = data_set(DataSet().put("InputReadinessState", "ready"))
    receiver = data_set(DataSet().put("ReceivingAE", "WATCHER").put("DeletionLock", "TRUE"))
    found = {}
    try:
        sent = data_set(workitem(ScheduledProcedureStepPriority="high"))
        status, created = association.send_n_create(sent, push, UID)
        found["create"] = status.Status
        assert created.ScheduledProcedureStepPriority == "HIGH"
        status, changed = association.send_n_set(lower, push, UID, meta_uid=pull)
        found["set"] = status.Status
        assert changed.InputReadinessState == "READY"
        for name, number, attributes, instance, context in (
            ("subscribe", 3, receiver, GLOBAL, watch),
            ("let go", 4, receiver, GLOBAL, watch),
            ("start", 1, started, UID, pull),
            ("cancel", 2, None, UID, push),
        ):
            status, _ = association.send_n_action(attributes, number, push, instance, meta_uid=context)
            found[name] = status.Status
            if status.Status >> 12 == 0xC:
                assert status.ErrorComment
    finally:
        association.release()
    assert {name: f"{found[name]:04X}" for name in answers} == {
        name: f"{code:04X}" for name, code in answers.items()
    }


def data_set(attributes: DataSet) -> Dataset:
    """The same as pydicom has it, which would refuse a CS in small letters."""
    with disable_value_validation():
        return Dataset.from_json(to_json(attributes))
