"""Storage Commitment and MPPS with Orthanc and pynetdicom, in both roles."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from benchmarks.receivers import Orthanc, free_port
from tests.interop.support import EXPLICIT_LE, BundledFile, Node, bundled_files, generations, run

SOON = 20.0  # seconds


def files() -> list[BundledFile]:
    """A few images."""
    return [
        each
        for each in generations(bundled_files())[0]
        if each.transfer_syntax_uid == EXPLICIT_LE and each.sop_class_uid.endswith((".1.2", ".1.4"))
    ][:3]


def until(check: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + SOON
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Orthanc


def ask_orthanc(orthanc: Orthanc, path: str, body: object = None, method: str = "GET") -> dict[str, object]:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{orthanc.http_port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = answer.read()
    return json.loads(found) if found.strip() else {}


def test_orthanc_asks_for_commitment_and_takes_the_report(
    node_with_peers: Callable[..., Node], orthanc: Orthanc
) -> None:
    node = node_with_peers({"ORTHANC": orthanc.dimse_port})
    modality = {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.dimse_port}
    ask_orthanc(orthanc, "/modalities/node", modality, "PUT")
    for each in files():
        assert node.c_store(each) == 0
    pairs = [[each.sop_class_uid, each.sop_instance_uid] for each in files()]
    assert commitment_by_orthanc(orthanc, pairs)["Status"] == "Success"
    found = commitment_by_orthanc(orthanc, [*pairs, [pairs[0][0], "1.2.3.4"]])
    assert found["Status"] == "Failure"
    (failure,) = found["Failures"]  # type: ignore[misc]
    assert failure["SOPInstanceUID"] == "1.2.3.4"  # type: ignore[index]
    assert str(failure["Description"]).endswith("was not available")  # type: ignore[index]


def commitment_by_orthanc(orthanc: Orthanc, pairs: list[list[str]]) -> dict[str, object]:
    asked = ask_orthanc(orthanc, "/modalities/node/storage-commitment", {"DicomInstances": pairs}, "POST")
    found: dict[str, object] = {}

    def there() -> bool:
        found.update(ask_orthanc(orthanc, str(asked["Path"])))
        return found["Status"] != "Pending"

    until(there)
    return found


def test_orthanc_commits_itself_to_what_it_was_sent(orthanc: Orthanc, tmp_path: Path) -> None:
    port = free_port()
    modality = {"AET": "DICOMWIRE", "Host": "127.0.0.1", "Port": port}
    ask_orthanc(orthanc, "/modalities/node", modality, "PUT")
    address = f"ORTHANC@127.0.0.1:{orthanc.dimse_port}"
    paths = [each.path for each in files()]
    sent = run(
        "dicomwire", "send", "--json", "--commit", "--listen", str(port), "--wait", "30", address, *paths[:2]
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert len(json.loads(sent.stdout)["commitment"]["committed"]) == 2
    asked = run("dicomwire", "commit", "--json", "--listen", str(port), "--wait", "30", address, *paths)
    assert asked.returncode == 1
    (failed,) = json.loads(asked.stdout)["failed"]
    assert failed["failure_reason"] == "0112"
    assert failed["sop_instance_uid"] == files()[2].sop_instance_uid


def test_what_goes_on_to_orthanc_is_committed_there(
    node_with_peers: Callable[..., Node], orthanc: Orthanc
) -> None:
    node = node_with_peers(
        {"ORTHANC": orthanc.dimse_port}, '[[routes]]\ndestination = "ORTHANC"\ncommit = true\n'
    )
    modality = {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.dimse_port}
    ask_orthanc(orthanc, "/modalities/node", modality, "PUT")
    for each in files():
        assert node.c_store(each) == 0

    def committed() -> set[str]:
        with closing(sqlite3.connect(node.data / "work.sqlite")) as store:
            rows = store.execute("SELECT content FROM commitment WHERE state = 'committed'").fetchall()
        return {uid for (content,) in rows for _, uid, _, _ in json.loads(content)}

    until(lambda: committed() == {each.sop_instance_uid for each in files()})
    assert orthanc.count() == len(files())


# pynetdicom


def test_pynetdicom_asks_for_commitment_and_takes_the_report_on_its_association(node: Node) -> None:
    assert node.c_store(files()[0]) == 0
    reports: list[Dataset] = []
    came = threading.Event()

    def report(event: Event) -> tuple[int, Dataset | None]:
        reports.append(event.event_information)
        came.set()
        return 0x0000, None

    wanted = Dataset()
    wanted.TransactionUID = "1.2.3.9"
    wanted.ReferencedSOPSequence = [_reference(files()[0]), _reference(files()[1])]
    ae = AE("PYNETDICOM")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate("127.0.0.1", node.dimse_port, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)])
    assert association.is_established
    status, _ = association.send_n_action(
        wanted, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0000
    assert came.wait(SOON)
    association.release()
    (found,) = reports
    assert found.TransactionUID == "1.2.3.9"
    assert [item.ReferencedSOPInstanceUID for item in found.ReferencedSOPSequence] == [
        files()[0].sop_instance_uid
    ]
    assert [item.FailureReason for item in found.FailedSOPSequence] == [0x0112]


@contextmanager
def pynetdicom_scp(handlers: list[tuple[object, object]], *contexts: str) -> Iterator[int]:
    """pynetdicom listening with these handlers; its port."""
    ae = AE("PYNETDICOM")
    for context in contexts:
        ae.add_supported_context(context, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        for association in server.active_associations:
            association.join(SOON)  # it closes its socket
        server.shutdown()


def test_pynetdicom_commits_itself_over_an_association_of_its_own(tmp_path: Path) -> None:
    listen = free_port()
    reporters: list[threading.Thread] = []
    statuses: list[int] = []

    def asked(event: Event) -> tuple[int, Dataset | None]:
        wanted = event.action_information

        def report() -> None:
            ae = AE("PYNETDICOM")
            ae.add_requested_context(StorageCommitmentPushModel)
            role = build_role(StorageCommitmentPushModel, scp_role=True)
            association = ae.associate("127.0.0.1", listen, ae_title="DICOMWIRE", ext_neg=[role])
            assert association.is_established
            unknown = Dataset()
            unknown.TransactionUID = "1.2.3.4.5"
            unknown.ReferencedSOPSequence = wanted.ReferencedSOPSequence
            for told in (unknown, wanted):
                status, _ = association.send_n_event_report(
                    told, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
                )
                statuses.append(int(status.Status))
            association.release()

        reporters.append(threading.Thread(target=report))
        reporters[-1].start()
        return 0x0000, None

    with pynetdicom_scp([(evt.EVT_N_ACTION, asked)], StorageCommitmentPushModel) as port:
        address = f"PYNETDICOM@127.0.0.1:{port}"
        found = run("dicomwire", "commit", "--listen", str(listen), "--wait", "20", address, files()[0].path)
        for thread in reporters:
            thread.join(SOON)
    assert (found.returncode, "1 committed" in found.stdout) == (0, True), found.stderr
    assert statuses == [0x0115, 0x0000]


def _reference(file: BundledFile) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = file.sop_class_uid
    item.ReferencedSOPInstanceUID = file.sop_instance_uid
    return item


def step() -> Dataset:
    """An N-CREATE that is complete."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = "1.2.3.1"
    scheduled.AccessionNumber = "A1"
    scheduled.ReferencedStudySequence = []
    found = Dataset()
    found.ScheduledStepAttributesSequence = [scheduled]
    found.PatientName = "Müller^Jörg"
    found.SpecificCharacterSet = "ISO_IR 100"
    found.PatientID = "P1"
    found.PerformedProcedureStepID = "PPS1"
    found.PerformedStationAETitle = "CT1"
    found.PerformedProcedureStepStartDate = "20260101"
    found.PerformedProcedureStepStartTime = "120000"
    found.PerformedProcedureStepStatus = "IN PROGRESS"
    found.Modality = "CT"
    return found


def end() -> Dataset:
    series = Dataset()
    series.ProtocolName = "Head"
    series.SeriesInstanceUID = "1.2.3.2"
    found = Dataset()
    found.PerformedProcedureStepStatus = "COMPLETED"
    found.PerformedProcedureStepEndDate = "20260101"
    found.PerformedProcedureStepEndTime = "121500"
    found.PerformedSeriesSequence = [series]
    return found


def test_pynetdicom_tells_of_a_step_and_its_followers_hear_of_it(
    node_with_peers: Callable[..., Node],
) -> None:
    heard: list[tuple[str, str]] = []

    def created(event: Event) -> tuple[int, Dataset]:
        heard.append(("create", str(event.attribute_list.PatientName)))
        return 0x0000, event.attribute_list

    def changed(event: Event) -> tuple[int, Dataset]:
        heard.append(("set", event.modification_list.PerformedProcedureStepStatus))
        return 0x0000, event.modification_list

    def reported(event: Event) -> tuple[int, Dataset | None]:
        heard.append((f"event {event.event_type}", event.event_information.PerformedProcedureStepStatus))
        return 0x0000, None

    handlers: list[tuple[object, object]] = [
        (evt.EVT_N_CREATE, created),
        (evt.EVT_N_SET, changed),
        (evt.EVT_N_EVENT_REPORT, reported),
    ]
    classes = (ModalityPerformedProcedureStep, ModalityPerformedProcedureStepNotification)
    with pynetdicom_scp(handlers, *classes) as port:
        settings = '[mpps]\nforward = ["PYNETDICOM"]\nnotify = ["PYNETDICOM"]\n'
        node = node_with_peers({"PYNETDICOM": port}, settings)
        ae = AE("PYNETDICOM")
        ae.add_requested_context(ModalityPerformedProcedureStep)
        ae.add_requested_context(ModalityPerformedProcedureStepRetrieve)
        association = ae.associate("127.0.0.1", node.dimse_port)
        kind = ModalityPerformedProcedureStep
        assert association.send_n_create(step(), kind, "1.2.3.4")[0].Status == 0x0000
        assert association.send_n_create(step(), kind, "1.2.3.4")[0].Status == 0x0111
        assert association.send_n_set(end(), kind, "1.2.3.5")[0].Status == 0x0112
        assert association.send_n_set(end(), kind, "1.2.3.4")[0].Status == 0x0000
        again = association.send_n_set(end(), kind, "1.2.3.4")[0]
        assert (again.Status, again.ErrorID) == (0x0110, 0xA710)
        status, found = association.send_n_get([], ModalityPerformedProcedureStepRetrieve, "1.2.3.4")
        assert status.Status == 0x0000
        association.release()
        assert found is not None
        assert (str(found.PatientName), found.PerformedProcedureStepStatus) == ("Müller^Jörg", "COMPLETED")
        until(lambda: len(heard) == 4)
    assert sorted(heard) == [
        ("create", "Müller^Jörg"),
        ("event 1", "IN PROGRESS"),
        ("event 2", "COMPLETED"),
        ("set", "COMPLETED"),
    ]


def test_pynetdicom_hears_that_a_study_is_available(node_with_peers: Callable[..., Node]) -> None:
    heard: list[tuple[str, Dataset]] = []

    def created(event: Event) -> tuple[int, Dataset | None]:
        heard.append((event.request.AffectedSOPInstanceUID, event.attribute_list))
        return 0x0000, None

    with pynetdicom_scp([(evt.EVT_N_CREATE, created)], InstanceAvailabilityNotification) as port:
        node = node_with_peers({"PYNETDICOM": port}, '[availability]\nnotify = ["PYNETDICOM"]\nquiet = 0.5\n')
        assert [node.c_store(each) for each in files()] == [0, 0, 0]
        studies = {each.study_instance_uid for each in files()}
        until(lambda: len(heard) == len(studies))
    assert {told.StudyInstanceUID for _, told in heard} == studies
    instances = {
        instance.ReferencedSOPInstanceUID: (instance.InstanceAvailability, instance.RetrieveAETitle)
        for _, told in heard
        for series in told.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert instances == {each.sop_instance_uid: ("ONLINE", node.ae_title) for each in files()}
    assert len({uid for uid, _ in heard}) == len(studies)


def test_pynetdicom_tells_that_a_study_is_available(node: Node) -> None:
    instance = _reference(files()[0])
    instance.InstanceAvailability = "NEARLINE"
    instance.RetrieveAETitle = "FAR"
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.2"
    series.ReferencedSOPSequence = [instance]
    told = Dataset()
    told.StudyInstanceUID = "1.2.3.1"
    told.ReferencedPerformedProcedureStepSequence = []
    told.ReferencedSeriesSequence = [series]
    bad = Dataset()
    bad.StudyInstanceUID = "1.2.3.1"
    ae = AE("PYNETDICOM")
    ae.add_requested_context(InstanceAvailabilityNotification)
    association = ae.associate("127.0.0.1", node.dimse_port)
    kind = InstanceAvailabilityNotification
    statuses = [association.send_n_create(each, kind, uid)[0] for each, uid in (
        (told, "1.2.3.4"), (told, "1.2.3.4"), (bad, "1.2.3.5"),
    )]  # fmt: skip
    association.release()
    assert [each.Status for each in statuses] == [0x0000, 0x0111, 0x0120]
    assert statuses[2].ErrorComment == "Missing: ReferencedSeriesSequence"
    with urllib.request.urlopen(
        f"http://127.0.0.1:{node.http_port}/api/availability?study=1.2.3.1", timeout=SOON
    ) as answer:
        (kept,) = json.loads(answer.read())
    assert (kept["sop_instance_uid"], kept["ae_title"]) == ("1.2.3.4", "PYNETDICOM")
    assert kept["attributes"]["0020000D"]["Value"] == ["1.2.3.1"]


def test_the_command_tells_pynetdicom_of_a_step(tmp_path: Path) -> None:
    told: list[Dataset] = []

    def created(event: Event) -> tuple[int, Dataset]:
        told.append(event.attribute_list)
        return 0x0000, event.attribute_list

    attributes = tmp_path / "step.json"
    attributes.write_text(step().to_json())
    with pynetdicom_scp([(evt.EVT_N_CREATE, created)], ModalityPerformedProcedureStep) as port:
        address = f"PYNETDICOM@127.0.0.1:{port}"
        found = run("dicomwire", "mpps", "--json", "--file", attributes, address, "create", "PatientID=P2")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["performed"] is True
    (one,) = told
    assert (str(one.PatientName), one.PatientID) == ("Müller^Jörg", "P2")
    assert isinstance(one.ScheduledStepAttributesSequence[0], pydicom.Dataset)


def test_the_command_tells_this_node_of_a_step_and_what_it_refuses(node: Node, tmp_path: Path) -> None:
    for name, data_set in (("step", step()), ("end", end())):
        (tmp_path / f"{name}.json").write_text(data_set.to_json())
    uid = ("--uid", "1.2.3.4")
    begin = ("create", *uid, "--file", tmp_path / "step.json")
    assert run("dicomwire", "mpps", node.address, *begin).returncode == 0
    refused = run("dicomwire", "mpps", node.address, "create", *uid, "PatientID=P1")
    assert (refused.returncode, "0111H" in refused.stderr) == (1, True)
    missing = run("dicomwire", "mpps", node.address, "create", "PatientID=P1")
    assert "PerformedProcedureStepID" in missing.stderr
    assert (
        run("dicomwire", "mpps", node.address, "set", *uid, "--file", tmp_path / "end.json").returncode == 0
    )
    found = run("dicomwire", "mpps", "--json", node.address, "get", *uid, "PerformedProcedureStepStatus")
    values = json.loads(found.stdout)["attributes"]
    assert values["00400252"]["Value"] == ["COMPLETED"]
    assert set(values) <= {"00400252", "00080005"}


def test_the_commands_of_the_documentation_run(node: Node, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "services.md").read_text().replace("\\\n", " ")
    shown = re.findall(r"^\$ (dicomwire (?:mpps|ups|worklist) .*)$", text, re.MULTILINE)
    assert len(shown) == 11
    for command in shown:
        command = command.replace("DICOMWIRE@127.0.0.1:11112", node.address)
        arguments = shlex.split(command.replace("127.0.0.1:8080", f"127.0.0.1:{node.http_port}"))
        done = run(*arguments)
        assert done.returncode == 0, (command, done.stderr)
    folder = node.data
    sent = run("dicomwire", "send", "--commit", node.address, *(each.path for each in files()))
    assert f"{len(files())} committed" in sent.stdout
    study = files()[0].study_instance_uid
    asked = run("dicomwire", "commit", "--json", node.address, "--study", study)
    assert files()[0].sop_instance_uid in json.loads(asked.stdout)["committed"]
    assert run("dicomwire", "commit", node.address, "--study", "1.2.3.4.5").returncode == 1
    url = f"http://127.0.0.1:{node.http_port}/dicom-web"
    over_web = run("dicomwire", "send", "--commit", url, *(each.path for each in files()))
    assert f"{len(files())} committed" in over_web.stdout
    asked = run("dicomwire", "commit", "--json", url, "--study", study)
    assert files()[0].sop_instance_uid in json.loads(asked.stdout)["committed"]
    assert run("dicomwire", "commit", url, "--study", "1.2.3.4.5").returncode == 1
    listed = run("dicomwire", "jobs", "list", "--data", folder, "--json")
    found = {(job["kind"], job["state"]) for job in json.loads(listed.stdout)["jobs"]}
    assert found == {("commitment-report", "done")}
