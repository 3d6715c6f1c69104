"""Worklists with DCMTK, pynetdicom and Orthanc, in both roles; workitems with pynetdicom."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityWorklistInformationFind,
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
)

from benchmarks.receivers import Orthanc, Receiver, free_port
from dicomwire.dicom.data_set import DataSet, encode, to_json
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.interop.conftest import StartNode, require
from tests.interop.support import Node, run
from tests.work.items import item
from tests.work.workitems import TRANSACTION, performed, state, workitem

GLOBAL = "1.2.840.10008.5.1.4.34.5"
Peer = TypeVar("Peer", bound=Receiver)


def write(path: Path, attributes: DataSet) -> None:
    """A worklist file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = write_file_meta("1.2.276.0.7230010.3.1.0.1", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN)
    path.write_bytes(meta + encode(attributes, EXPLICIT_VR_LITTLE_ENDIAN))


class Wlmscpfs(Receiver):
    """DCMTK's worklist server on a folder."""

    name = "wlmscpfs"
    ae_title = "RIS"

    @classmethod
    def missing(cls) -> str:
        return "" if Path("/usr/bin/wlmscpfs").exists() else "wlmscpfs: apt-get install dcmtk"

    @classmethod
    def version(cls) -> str:
        return "DCMTK"

    def command(self) -> Sequence[str]:
        (self.folder / self.ae_title).mkdir(parents=True, exist_ok=True)
        (self.folder / self.ae_title / "lockfile").touch()
        return ["wlmscpfs", "-s", "-dfp", str(self.folder), str(self.dimse_port)]

    def count(self) -> int:
        return len(list((self.folder / self.ae_title).glob("*.wl")))


class WorklistOrthanc(Orthanc):
    """Orthanc with its worklist plug-in, on a folder of files."""

    PLUGIN = Path("/usr/share/orthanc/plugins/libModalityWorklists.so")

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if cls.PLUGIN.exists() else f"no {cls.PLUGIN}")

    def command(self) -> Sequence[str]:
        command = super().command()
        configuration = self.folder / "configuration"
        general = (configuration / "orthanc.json").read_text()
        both = f'"/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "{self.PLUGIN}"'
        general = general.replace('"/usr/share/orthanc/plugins/libOrthancDicomWeb.so"', both)
        general = general.replace(
            '"DicomAlwaysAllowFindWorklist" : false', '"DicomAlwaysAllowFindWorklist" : true'
        )
        (configuration / "orthanc.json").write_text(general)
        settings = {"Worklists": {"Enable": True, "Database": str(self.folder / self.ae_title)}}
        (configuration / "worklists.json").write_text(json.dumps(settings))
        return command


@contextmanager
def running(peer: type[Peer], folder: Path) -> Iterator[Peer]:
    require(peer)
    started = peer(folder)
    started.start()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def node(start_node: StartNode, tmp_path: Path) -> Node:
    """A node with items from a folder and by the web."""
    files = tmp_path / "files"
    write(files / "one.wl", item(1))
    write(files / "two.wl", item(2, Modality="MR", PatientName="Müller^Anna"))
    return start_node(DICOMWIRE_WORKLIST__FOLDER=str(files))


def test_findscu_asks_for_the_worklist(node: Node, dcmtk: None) -> None:
    found = run(
        "findscu",
        *("-W", "-aec", node.ae_title, "127.0.0.1", str(node.dimse_port)),
        *("-k", "PatientName", "-k", "AccessionNumber"),
        *("-k", "ScheduledProcedureStepSequence[0].Modality=MR"),
    )
    assert found.returncode == 0, found.stderr
    assert re.findall(r"\[(A\d)\s*\]", found.stdout + found.stderr) == ["A2"]


@pytest.mark.parametrize("peer", [Wlmscpfs, WorklistOrthanc])
def test_the_command_asks_peers_for_their_worklists(peer: type[Receiver], tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    complete = item(1, ScheduledStationName="CT", PatientBirthDate="19700101", PatientSex="F")
    write(folder / peer.ae_title / "one.wl", complete)
    write(folder / peer.ae_title / "two.wl", item(2, Modality="MR", ScheduledStationAETitle="MR1"))
    with running(peer, folder) as ris:
        address = f"{ris.ae_title}@127.0.0.1:{ris.dimse_port}"
        found = run("dicomwire", "worklist", address, "Modality=CT", "AccessionNumber", "PatientName")
    assert found.returncode == 0, found.stderr
    assert "A1" in found.stdout
    assert "A2" not in found.stdout


@pytest.mark.parametrize("title", ["RIS", "CT1", "NOBODY"])
def test_a_folder_is_the_same_worklist_as_with_wlmscpfs(
    start_node: StartNode, dcmtk: None, tmp_path: Path, title: str
) -> None:
    folder = tmp_path / "shared"
    complete = {"ScheduledStationName": "ST", "PatientBirthDate": "19700101", "PatientSex": "F"}
    for number, name in enumerate(("RIS", "RIS", "CT1")):
        write(folder / name / f"{number}.wl", item(number, **complete))
        (folder / name / "lockfile").touch()
    write(folder / "RIS" / "not_an_item.txt", item(9))
    with running(Wlmscpfs, folder) as theirs:
        node = start_node(DICOMWIRE_WORKLIST__FOLDER=str(folder))
        found = {
            who: run(
                "findscu",
                *("-W", "-aec", title, "127.0.0.1", str(port), "-k", "PatientName", "-k", "AccessionNumber"),
                *("-k", "ScheduledProcedureStepSequence[0].Modality=CT"),
            )
            for who, port in (("theirs", theirs.dimse_port), ("ours", node.dimse_port))
        }
    answers = {
        who: sorted(re.findall(r"\[(A\d)\s*\]", each.stdout + each.stderr)) for who, each in found.items()
    }
    if title == "NOBODY":  # wlmscpfs rejects the association; we show what is for all, which is nothing
        assert (found["theirs"].returncode != 0, answers["theirs"]) == (True, [])
    else:
        assert answers["ours"] == answers["theirs"] == {"RIS": ["A0", "A1"], "CT1": ["A2"]}[title]


def test_orthanc_asks_for_the_worklist(node: Node, orthanc: Orthanc) -> None:
    base = f"http://127.0.0.1:{orthanc.http_port}/modalities/node"
    modality = {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.dimse_port}
    asked = {
        "PatientID": "",
        "AccessionNumber": "",
        "ScheduledProcedureStepSequence": [{"Modality": "MR", "ScheduledProcedureStepID": ""}],
    }
    urllib.request.urlopen(
        urllib.request.Request(base, json.dumps(modality).encode(), method="PUT"), timeout=60
    ).close()
    with urllib.request.urlopen(f"{base}/find-worklist", json.dumps(asked).encode(), timeout=60) as answer:
        (found,) = json.loads(answer.read())
    assert (found["AccessionNumber"], found["PatientID"]) == ("A2", "P2")


def test_pynetdicom_asks_for_the_worklist(node: Node) -> None:
    identifier = Dataset()
    identifier.PatientName = "MULLER*"
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.AccessionNumber = ""
    step = Dataset()
    step.ScheduledProcedureStepStartDate = "20260101-20260131"
    step.ScheduledStationAETitle = ""
    identifier.ScheduledProcedureStepSequence = [step]
    (found,) = _find(node, ModalityWorklistInformationFind, identifier)
    assert (str(found.PatientName), found.AccessionNumber) == ("Müller^Anna", "A2")
    assert found.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "CT1"


def _find(node: Node, sop_class: str, identifier: Dataset) -> list[Dataset]:
    entity = AE(ae_title="CT1")
    entity.add_requested_context(sop_class)
    association = entity.associate("127.0.0.1", node.dimse_port, ae_title=node.ae_title)
    assert association.is_established
    try:
        answers = list(association.send_c_find(identifier, sop_class))
    finally:
        association.release()
    assert answers[-1][0].Status == 0
    return [data for _, data in answers if data is not None]


def test_pynetdicom_answers_the_command(tmp_path: Path) -> None:
    def answer(event: Event) -> Iterator[tuple[int, Dataset | None]]:
        found = Dataset()
        found.PatientName = "Doe^Jane"
        found.AccessionNumber = "A7"
        yield 0xFF00, found

    entity = AE(ae_title="RIS")
    entity.add_supported_context(ModalityWorklistInformationFind)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    try:
        found = run("dicomwire", "worklist", f"RIS@127.0.0.1:{port}", "--json")
    finally:
        server.shutdown()
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)[0]["00080050"]["Value"] == ["A7"]


# Unified Procedure Steps


def _pydicom(attributes: DataSet) -> Dataset:
    return Dataset.from_json(to_json(attributes))


@pytest.fixture
def watched(start_node: StartNode, tmp_path: Path) -> Iterator[tuple[Node, list[tuple[int, str]]]]:
    """A node, and what a watcher of pynetdicom's has been told."""
    told: list[tuple[int, str]] = []
    enough = threading.Event()

    def take(event: Event) -> tuple[int, None]:
        told.append((event.request.EventTypeID, event.event_information.ProcedureStepState))
        if len(told) == 3:
            enough.set()
        return 0, None

    entity = AE(ae_title="WATCHER")
    entity.add_supported_context(UnifiedProcedureStepEvent, scu_role=True, scp_role=True)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    configuration = tmp_path / "peers.toml"
    configuration.write_text(f'[[peers]]\nae_title = "WATCHER"\nhost = "127.0.0.1"\nport = {port}\n')
    try:
        node = start_node("--config", str(configuration))
        yield node, told
        assert enough.wait(20)
        assert told == [(1, "SCHEDULED"), (1, "IN PROGRESS"), (1, "COMPLETED")]
    finally:
        server.shutdown()


def test_pynetdicom_works_with_a_workitem_and_hears_of_it(
    watched: tuple[Node, list[tuple[int, str]]],
) -> None:
    node, _ = watched
    entity = AE(ae_title="WATCHER")
    for sop_class in (UnifiedProcedureStepPush, UnifiedProcedureStepPull, UnifiedProcedureStepWatch):
        entity.add_requested_context(sop_class)
    association = entity.associate("127.0.0.1", node.dimse_port, ae_title=node.ae_title)
    assert association.is_established
    push, uid = UnifiedProcedureStepPush, "1.2.3.4"
    watcher = _pydicom(DataSet().put("ReceivingAE", "WATCHER").put("DeletionLock", "TRUE"))

    def pull(attributes: DataSet, kind: int) -> int:
        reply, _ = association.send_n_action(
            _pydicom(attributes), kind, push, uid, meta_uid=UnifiedProcedureStepPull
        )
        return int(reply.Status)

    subscribed, _ = association.send_n_action(watcher, 3, push, GLOBAL, meta_uid=UnifiedProcedureStepWatch)
    assert subscribed.Status == 0
    assert association.send_n_create(_pydicom(workitem()), push, uid)[0].Status == 0
    assert pull(state("COMPLETED"), 1) == 0xC310
    assert pull(state("IN PROGRESS"), 1) == 0
    assert pull(state("COMPLETED"), 1) == 0xC304
    changes = _pydicom(performed().put("TransactionUID", TRANSACTION))
    changed, _ = association.send_n_set(changes, push, uid, meta_uid=UnifiedProcedureStepPull)
    assert changed.Status == 0
    assert pull(state("COMPLETED"), 1) == 0
    found, attributes = association.send_n_get([0x00741000], push, uid, meta_uid=UnifiedProcedureStepWatch)
    assert (found.Status, attributes.ProcedureStepState) == (0, "COMPLETED")
    association.release()
    identifier = Dataset()
    identifier.ProcedureStepState = "COMPLETED"
    identifier.SOPInstanceUID = ""
    (match,) = _find(node, UnifiedProcedureStepQuery, identifier)
    assert match.SOPInstanceUID == uid
    seen = run("dicomwire", "ups", f"{node.ae_title}@127.0.0.1:{node.dimse_port}", "get", "--uid", uid)
    assert "COMPLETED" in seen.stdout
