"""A DICOMDIR over all of pydicom's files, as pydicom and DCMTK read it."""

from __future__ import annotations

import asyncio
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from benchmarks.receivers import system_program
from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.archive.dicomdir import record_type
from dicomwire.archive.exchange import DICOMDIR, Fate, export_file_set, listed, take
from dicomwire.services.instances import Instance, read_file
from tests.interop.support import bundled_files, read, run

UID = "2.25.1"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file-set of all of pydicom's files that can be stored, the first of each UID."""
    data = tmp_path_factory.mktemp("data")
    destination = tmp_path_factory.mktemp("file-set")

    def instances() -> Iterator[Instance]:
        for file in bundled_files():
            found = read_file(file.path)
            assert isinstance(found, Instance)
            yield found

    async def store() -> None:
        archive = Archive.open(data, ArchiveOptions("reject", free_space=0))
        archive.start(asyncio.get_running_loop())
        await take(archive, instances(), lambda *_: None)
        await archive.stop()

    asyncio.run(store())
    archive = Archive.open(data)
    fates = {each.fate for each in export_file_set(archive, destination, archive.plan(), UID)}
    archive.close()
    assert fates == {Fate.EXPORTED}
    return destination


def test_every_file_is_in_the_directory_by_a_name_for_media(exported: Path) -> None:
    files = sorted(path for path in exported.rglob("*") if path.is_file() and path.name != DICOMDIR)
    assert len(files) > 50
    assert sorted(listed(exported / DICOMDIR) or ()) == files
    for path in files:
        assert all(re.fullmatch("[A-Z0-9_]{1,8}", part) for part in path.relative_to(exported).parts)


def test_pydicom_finds_every_instance_below_its_patient_study_and_series(exported: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file_set = FileSet(exported / DICOMDIR)
    file_set._stage["t"].cleanup()
    wanted = {}
    for path in exported.rglob("IM*"):
        ds = read(path)
        wanted[str(ds.SOPInstanceUID)] = (ds.StudyInstanceUID, ds.SeriesInstanceUID)
    found = {str(each.SOPInstanceUID): (each.StudyInstanceUID, each.SeriesInstanceUID) for each in file_set}
    assert found == wanted


def test_records_say_what_their_instances_say(exported: Path) -> None:
    directory = pydicom.dcmread(exported / DICOMDIR)
    current = {}
    for record in directory.DirectoryRecordSequence:
        current[record.DirectoryRecordType] = record
        if "ReferencedFileID" not in record:
            continue
        ds = read(exported.joinpath(*record.ReferencedFileID))
        assert record.ReferencedSOPClassUIDInFile == ds.SOPClassUID
        assert record.ReferencedTransferSyntaxUIDInFile == ds.file_meta.TransferSyntaxUID
        assert record.DirectoryRecordType == record_type(ds.SOPClassUID)
        assert record.get("InstanceNumber") not in (None, "")
        if ds.get("PatientID"):
            assert current["PATIENT"].PatientID == ds.PatientID
            assert current["PATIENT"].PatientName == ds.get("PatientName", "")
        assert current["STUDY"].StudyInstanceUID == ds.StudyInstanceUID
        assert current["SERIES"].get("Modality", "") == ds.get("Modality", "")
        assert current["PATIENT"].PatientID
        assert current["STUDY"].StudyID
        assert current["SERIES"].SeriesNumber is not None


def test_dcmtk_reads_the_directory_without_a_word_of_warning(exported: Path) -> None:
    if system_program("dcmdump") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing dcmdump")
        pytest.skip("missing dcmdump")
    dumped = run("dcmdump", "-q", exported / DICOMDIR)
    assert (dumped.returncode, dumped.stderr) == (0, "")
    verbose = run("dcmdump", "-v", "-d", exported / DICOMDIR)
    assert "Warning" not in verbose.stderr
    assert not [line for line in verbose.stderr.splitlines() if line.startswith(("W:", "E:"))]
