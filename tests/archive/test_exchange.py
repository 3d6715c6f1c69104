"""Instances out of the archive as files and back, and lists of files that are DICOMDIRs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack

import pydicom
import pytest

from dicomwire.archive.archive import Archive
from dicomwire.archive.exchange import UNDER_WAY, Fate, export, export_file_set, listed, take
from dicomwire.archive.values import Outcome, Verdict
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.services.instances import Instance, read_file
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
DIRECTORY = "1.2.840.10008.1.3.10"


def element(tag: int, vr: str, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (pack("<HI", 0, len(value)) if vr in ("OB", "SQ") else pack("<H", len(value))) + value


def data_set(uid: str, *, study: str = "1.2.3", series: str = "1.2.3.4", patient: bytes = b"P1") -> bytes:
    return b"".join(
        [
            element(0x00080016, "UI", CT.encode()),
            element(0x00080018, "UI", uid.encode()),
            element(0x00100020, "LO", patient),
            element(0x0020000D, "UI", study.encode()),
            element(0x0020000E, "UI", series.encode()),
        ]
    )


def written(path: Path, uid: str, **values: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_file_meta(CT, uid, EXPLICIT_VR_LITTLE_ENDIAN) + data_set(uid, **values))
    return path


def dicomdir(path: Path, *files: str) -> Path:
    items = b"".join(
        pack("<HHI", 0xFFFE, 0xE000, len(record)) + record
        for record in (element(0x00041500, "CS", name.encode()) for name in files)
    )
    meta = write_file_meta(DIRECTORY, "1.2.9", EXPLICIT_VR_LITTLE_ENDIAN)
    path.write_bytes(meta + element(0x00041130, "CS", b"SET ") + element(0x00041220, "SQ", items))
    return path


def stored(data: Path, paths: Sequence[Path]) -> list[Outcome]:
    """Outcomes of files, in their order; the archive is closed behind it."""
    outcomes: dict[int, Outcome] = {}

    def instances() -> Iterator[Instance]:
        for path in paths:
            found = read_file(path)
            assert isinstance(found, Instance)
            yield found

    async def run() -> None:
        archive = Archive.open(data)
        archive.start(asyncio.get_running_loop())
        try:
            await take(archive, instances(), outcomes.__setitem__)
        finally:
            await archive.stop()

    asyncio.run(run())
    return [outcomes[number] for number in range(len(paths))]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Two studies with three instances."""
    files = [
        written(tmp_path / "in" / "a", "1.2.3.4.1"),
        written(tmp_path / "in" / "b", "1.2.3.4.2"),
        written(tmp_path / "in" / "c", "1.5.1", study="1.5", series="1.5.0"),
    ]
    (tmp_path / "data").mkdir()
    assert {outcome.verdict for outcome in stored(tmp_path / "data", files)} == {Verdict.STORED}
    opened = Archive.open(tmp_path / "data")
    yield opened
    opened.close()


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_instance_becomes_a_file_with_its_bytes(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported = list(export(archive, out, archive.plan_all()))
    assert {each.fate for each in exported} == {Fate.EXPORTED}
    assert tree(out) == ["1.2.3/1.2.3.4/1.2.3.4.1.dcm", "1.2.3/1.2.3.4/1.2.3.4.2.dcm", "1.5/1.5.0/1.5.1.dcm"]
    assert sum(each.length for each in exported) == sum((out / name).stat().st_size for name in tree(out))
    content = (out / "1.5/1.5.0/1.5.1.dcm").read_bytes()
    assert content.endswith(data_set("1.5.1", study="1.5", series="1.5.0"))


def test_an_export_again_leaves_all_as_it_is(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(export(archive, out, archive.plan_all()))
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    assert {each.fate for each in export(archive, out, archive.plan_all())} == {Fate.PRESENT}
    assert {name: (out / name).stat().st_mtime_ns for name in tree(out)} == before


@pytest.mark.parametrize("content", [b"", b"mine"])
def test_another_file_under_the_name_is_left_alone(archive: Archive, tmp_path: Path, content: bytes) -> None:
    mine = tmp_path / "out" / "1.5" / "1.5.0" / "1.5.1.dcm"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(content)
    (exported,) = export(archive, tmp_path / "out", archive.plan(study="1.5"))
    assert exported.fate is Fate.FAILED
    assert "another file" in exported.reason
    assert mine.read_bytes() == content


def test_a_longer_file_is_another_one(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(export(archive, out, archive.plan(study="1.5")))
    file = out / "1.5" / "1.5.0" / "1.5.1.dcm"
    file.write_bytes(file.read_bytes() + b"\0")
    (exported,) = export(archive, out, archive.plan(study="1.5"))
    assert exported.fate is Fate.FAILED


def test_a_damaged_instance_fails_alone_and_leaves_no_file(archive: Archive, tmp_path: Path) -> None:
    for segment in tmp_path.glob("data/**/*"):
        if segment.is_file() and b"1.2.3.4.2" in (content := segment.read_bytes()) and b"DICM" in content:
            # The patient's ID of the second instance, in place
            at = content.index(b"P1", content.rindex(b"1.2.3.4.2"))
            with segment.open("r+b") as file:
                file.seek(at)
                file.write(b"XX")
    fates = {
        each.sop_instance_uid: each.fate for each in export(archive, tmp_path / "out", archive.plan_all())
    }
    assert fates == {"1.2.3.4.1": Fate.EXPORTED, "1.2.3.4.2": Fate.FAILED, "1.5.1": Fate.EXPORTED}
    assert tree(tmp_path / "out") == ["1.2.3/1.2.3.4/1.2.3.4.1.dcm", "1.5/1.5.0/1.5.1.dcm"]


def test_what_was_exported_is_known_when_it_comes_back(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(export(archive, out, archive.plan_all()))
    archive.close()
    files = [out / name for name in tree(out)]
    assert {each.verdict for each in stored(tmp_path / "data", files)} == {Verdict.ALREADY_STORED}
    (tmp_path / "other").mkdir()
    assert {each.verdict for each in stored(tmp_path / "other", files)} == {Verdict.STORED}


def test_more_instances_than_are_under_way_at_once_are_all_stored(tmp_path: Path) -> None:
    files = [written(tmp_path / "in" / str(n), f"1.7.{n}") for n in range(2 * UNDER_WAY + 1)]
    (tmp_path / "data").mkdir()
    outcomes = stored(tmp_path / "data", files)
    assert [outcome.sop_instance_uid for outcome in outcomes] == [
        f"1.7.{n}" for n in range(2 * UNDER_WAY + 1)
    ]
    assert {outcome.verdict for outcome in outcomes} == {Verdict.STORED}


def test_a_file_that_goes_away_fails_alone(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", "1.7.1"), written(tmp_path / "b", "1.7.2")
    (tmp_path / "data").mkdir()
    outcomes: dict[int, Outcome] = {}

    async def run() -> None:
        archive = Archive.open(tmp_path / "data")
        archive.start(asyncio.get_running_loop())
        found = [read_file(first), read_file(second)]
        first.unlink()
        try:
            instances = [each for each in found if isinstance(each, Instance)]
            await take(archive, instances, outcomes.__setitem__)
        finally:
            await archive.stop()

    asyncio.run(run())
    assert outcomes[0].comment == "No such file or directory"
    assert outcomes[1].verdict is Verdict.STORED


def test_a_dicomdir_lists_its_files_whatever_their_case(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "im1").write_bytes(b"x")
    path = dicomdir(tmp_path / "DICOMDIR", "DICOM\\IM1", "DICOM\\IM2 ", "ABSENT\\IM3")
    assert listed(path) == [
        tmp_path / "dicom" / "im1",
        tmp_path / "dicom" / "IM2",
        tmp_path / "ABSENT" / "IM3",
    ]


def test_a_dicomdir_leads_nowhere_else(tmp_path: Path) -> None:
    names = ("..\\SECRET", "A\\..\\..\\B", "\\ETC", "/etc\\passwd", "A\\/B", ".", "A\0B\\C")
    assert listed(dicomdir(tmp_path / "DICOMDIR", *names)) == []


def test_other_files_are_no_dicomdir(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_bytes(b"DICOMDIR" * 40)
    (tmp_path / "short").write_bytes(b"D")
    assert listed(written(tmp_path / "ct", "1.2.1")) is None
    assert [listed(tmp_path / name) for name in ("empty", "text", "short", "absent", ".")] == [None] * 5


def test_a_file_set_has_a_directory_of_patients_studies_series_and_instances(
    archive: Archive, tmp_path: Path
) -> None:
    out = tmp_path / "media"
    exported = list(export_file_set(archive, out, archive.plan(), "2.25.7"))
    assert sorted(each.path.as_posix() for each in exported) == [
        "DICOM/ST000001/SE000001/IM000001",
        "DICOM/ST000001/SE000001/IM000002",
        "DICOM/ST000002/SE000001/IM000001",
    ]
    assert sorted(listed(out / "DICOMDIR") or ()) == sorted(out / each.path for each in exported)
    directory = pydicom.dcmread(out / "DICOMDIR")
    assert directory.file_meta.MediaStorageSOPInstanceUID == "2.25.7"
    types = [record.DirectoryRecordType for record in directory.DirectoryRecordSequence]
    assert types == ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE", "STUDY", "SERIES", "IMAGE"]


def test_a_file_set_of_nothing_has_an_empty_directory(archive: Archive, tmp_path: Path) -> None:
    assert list(export_file_set(archive, tmp_path / "media", [], "2.25.7")) == []
    directory = pydicom.dcmread(tmp_path / "media" / "DICOMDIR")
    assert len(directory.DirectoryRecordSequence) == 0


@pytest.mark.parametrize(
    "syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
)
def test_records_are_the_same_whatever_the_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    data = data_set("1.2.3.4.1")
    converted = b"".join(map(bytes, to_transfer_syntax(data, EXPLICIT_VR_LITTLE_ENDIAN, syntax)))
    (tmp_path / "a").write_bytes(write_file_meta(CT, "1.2.3.4.1", syntax) + converted)
    (tmp_path / "data").mkdir()
    stored(tmp_path / "data", [tmp_path / "a"])
    opened = Archive.open(tmp_path / "data")
    assert [each.fate for each in export_file_set(opened, tmp_path / "out", opened.plan(), "2.25.7")] == [
        Fate.EXPORTED
    ]
    opened.close()
    records = pydicom.dcmread(tmp_path / "out" / "DICOMDIR").DirectoryRecordSequence
    assert records[0].PatientID == "P1"
    assert records[1].StudyInstanceUID == pydicom.dcmread(tmp_path / "a").StudyInstanceUID
    assert records[3].ReferencedTransferSyntaxUIDInFile == syntax


def test_a_full_folder_of_a_file_set_is_told(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomwire.archive.exchange._MOST_NAMES", 1)
    fates = [each.fate for each in export_file_set(archive, tmp_path / "out", archive.plan(), "2.25.7")]
    assert sorted(fate.name for fate in fates) == ["EXPORTED", "FAILED", "FAILED"]
