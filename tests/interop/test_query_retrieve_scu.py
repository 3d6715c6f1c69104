"""This package as the one that asks: find, get and move at DCMTK's, Orthanc's, pynetdicom's and our archive.

pynetdicom's answers once for each instance, whatever the level.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

import dicomwire
from benchmarks.receivers import QRSCP, DcmQRSCP, Dicomwire, Orthanc, Receiver, free_port
from dicomwire.errors import NoAcceptedContext, OperationFailed
from dicomwire.services.sending import Outcome
from tests.interop.conftest import require
from tests.interop.support import differences, read, run
from tests.services.retrieving import image

NAMES = ("DOE^JOHN", "DOE^JANE", "ROE^RICHARD")
SERIES_EACH, INSTANCES_EACH = 2, 3
MANY = 150  # instances of one more study, whose list is long
ROOT = "1.2.826.0.1.3680043.2.1143.77"
UNKNOWN_DESTINATION = (0xA801, 0xC000)  # the standard's, and Orthanc's
ARCHIVES: tuple[type[Receiver], ...] = (DcmQRSCP, Orthanc, QRSCP, Dicomwire)


@dataclass
class Archive:
    """A running archive, and where it sends what is moved to DICOMWIRE."""

    peer: Receiver
    port: int
    sent: dict[str, pydicom.Dataset]

    @property
    def address(self) -> str:
        return f"{self.peer.ae_title}@127.0.0.1:{self.peer.dimse_port}"

    def study(self, number: int) -> str:
        return f"{ROOT}.{number}"


def data_sets() -> Iterator[pydicom.Dataset]:
    for study, name in enumerate(NAMES):
        for series in range(SERIES_EACH):
            for number in range(INSTANCES_EACH):
                yield named(study, series, number, name)
    for number in range(MANY):
        yield named(len(NAMES), 0, number, "MANY^PICTURES")


def named(study: int, series: int, number: int, name: str) -> pydicom.Dataset:
    return image(
        number,
        study=f"{ROOT}.{study}",
        series=f"{ROOT}.{study}.{series}",
        patient=f"ID{study}",
        size=32,
        PatientName=name,
        StudyDate=f"2024010{study + 1}",
        StudyTime="101112",
        StudyID=str(study),
        AccessionNumber=f"A{study}",
        Modality="CT",
        SeriesNumber=str(series),
        Rows=4,
        Columns=4,
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
    )


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda kind: kind.name)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    kind: type[Receiver] = request.param
    require(kind)
    port = free_port()
    peer = kind(tmp_path_factory.mktemp("archive") / "peer", destinations={"DICOMWIRE": port})
    peer.start()
    try:
        sent = {str(each.SOPInstanceUID): each for each in data_sets()}
        there = Archive(peer, port, sent)
        with dicomwire.connect_blocking(there.address) as association:
            deliveries = association.store_all(list(sent.values()))
        assert {each.outcome for each in deliveries} == {Outcome.STORED}
        yield there
    finally:
        peer.stop()


def test_find_by_wild_card_and_by_date(archive: Archive) -> None:
    with dicomwire.connect_blocking(archive.address) as association:
        association.echo()
        does = list(association.find(PatientName="DOE*", StudyDate=None, level="STUDY"))
        dated = list(association.find(StudyDate="20240102-20240103", PatientID=None))
    assert {(str(each.PatientName), each.StudyDate) for each in does} == {
        ("DOE^JOHN", "20240101"),
        ("DOE^JANE", "20240102"),
    }
    assert {each.PatientID for each in dated} == {"ID1", "ID2"}
    assert {each.StudyInstanceUID for each in dated} == {archive.study(1), archive.study(2)}


def test_find_goes_down_the_levels(archive: Archive) -> None:
    study = archive.study(0)
    with dicomwire.connect_blocking(archive.address) as association:
        patients = list(association.find(level="PATIENT", PatientID="ID0", PatientName=None))
        series = list(association.find(level="SERIES", StudyInstanceUID=study, Modality=None))
        uid = f"{study}.1"
        instances = list(association.find(level="IMAGE", StudyInstanceUID=study, SeriesInstanceUID=uid))
    assert {str(each.PatientName) for each in patients} == {"DOE^JOHN"}
    assert {each.SeriesInstanceUID for each in series} == {f"{study}.0", f"{study}.1"}
    assert {each.SOPInstanceUID for each in instances} == {f"{uid}.{n}" for n in range(INSTANCES_EACH)}


def test_a_long_list_comes_whole_and_a_limit_ends_it(archive: Archive) -> None:
    study = archive.study(len(NAMES))
    names = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.0"}
    with dicomwire.connect_blocking(archive.address) as association:
        assert len(list(association.find(level="IMAGE", **names))) == MANY
        assert len(list(association.find(level="IMAGE", limit=5, **names))) == 5
        association.echo()


def test_the_command_prints_what_is_found(archive: Archive) -> None:
    lines = run("dicomwire", "find", archive.address, "PatientName=DOE*", "PatientID")
    assert lines.returncode == 0, lines.stderr
    assert {tuple(line.split("\t")[:2]) for line in lines.stdout.splitlines()} == {
        ("DOE^JOHN", "ID0"),
        ("DOE^JANE", "ID1"),
    }
    table = run("dicomwire", "find", archive.address, "PatientName=ROE*", "--csv", "PatientID")
    assert {row["PatientID"] for row in csv.DictReader(io.StringIO(table.stdout))} == {"ID2"}
    found = json.loads(run("dicomwire", "find", archive.address, "PatientID=ID2", "--json").stdout)
    assert {each["0020000D"]["Value"][0] for each in found} == {archive.study(2)}


def test_get_brings_instances_as_they_were_sent(archive: Archive) -> None:
    with dicomwire.connect_blocking(archive.address) as association:
        found = [each.dataset() for each in association.get(StudyInstanceUID=archive.study(0))]
        one = list(
            association.get(
                StudyInstanceUID=archive.study(0),
                SeriesInstanceUID=f"{archive.study(0)}.1",
                SOPInstanceUID=f"{archive.study(0)}.1.2",
            )
        )
        association.echo()
    assert len(found) == SERIES_EACH * INSTANCES_EACH
    assert [each.sop_instance_uid for each in one] == [f"{archive.study(0)}.1.2"]
    for each in found:
        assert differences(archive.sent[str(each.SOPInstanceUID)], each) == []


def test_get_writes_what_a_query_matches(archive: Archive, tmp_path: Path) -> None:
    got = run("dicomwire", "get", archive.address, "PatientName=DOE*", "--output", tmp_path / "out", "--json")
    facts = json.loads(got.stdout)
    assert (got.returncode, facts["complete"], facts["retrievals"]) == (0, True, 2), got.stderr
    files = list((tmp_path / "out").rglob("*.dcm"))
    assert len(files) == 2 * SERIES_EACH * INSTANCES_EACH
    for each in files:
        written = read(each)
        assert differences(archive.sent[str(written.SOPInstanceUID)], written) == []


def test_leaving_a_get_leaves_a_peer_that_still_answers(archive: Archive) -> None:
    async def some() -> list[str]:
        async with dicomwire.connect(archive.address) as association:
            getting = association.get(StudyInstanceUID=archive.study(len(NAMES)))
            uids = [(await anext(getting)).sop_instance_uid for _ in range(3)]
            await getting.aclose()
            await association.echo()
            return uids

    assert len(set(asyncio.run(some()))) == 3


def test_move_brings_instances_into_a_folder_here(archive: Archive, tmp_path: Path) -> None:
    moved = run(
        *("dicomwire", "move", archive.address, f"StudyInstanceUID={archive.study(1)}"),
        *("--receive", tmp_path / "in", "--listen", f"127.0.0.1:{archive.port}"),
    )
    assert moved.returncode == 0, (moved.stdout, moved.stderr)
    files = list((tmp_path / "in").rglob("*.dcm"))
    assert len(files) == SERIES_EACH * INSTANCES_EACH
    assert not list((tmp_path / "in").rglob("*.part"))
    for each in files:
        written = read(each)
        assert differences(archive.sent[str(written.SOPInstanceUID)], written) == []


def test_move_to_an_ae_that_the_peer_does_not_know_says_so(archive: Archive) -> None:
    names = f"StudyInstanceUID={archive.study(1)}"
    moved = run("dicomwire", "move", archive.address, names, "--to", "NOWHERE")
    assert moved.returncode == 1
    assert moved.stderr.startswith("dicomwire: ")
    assert "Traceback" not in moved.stderr
    with (
        dicomwire.connect_blocking(archive.address) as association,
        pytest.raises(OperationFailed) as raised,
    ):
        association.move("NOWHERE", StudyInstanceUID=archive.study(1))
    assert raised.value.status in UNKNOWN_DESTINATION


def test_what_is_not_there_is_no_instance(archive: Archive) -> None:
    with dicomwire.connect_blocking(archive.address) as association:
        getting = association.get(StudyInstanceUID="1.2.3.4.5.6")
        if archive.peer.name == "Orthanc":
            with pytest.raises(OperationFailed, match="C000H"):
                list(getting)
        else:
            assert list(getting) == []
        association.echo()


def test_a_service_that_the_peer_lacks_is_named(archive: Archive) -> None:
    print_management = "1.2.840.10008.5.1.1.9"
    with (
        dicomwire.connect_blocking(archive.address, contexts=[print_management]) as association,
        pytest.raises(NoAcceptedContext, match="Basic Grayscale Print"),
    ):
        association.n_create(print_management)
