"""The archive's promise: what is answered is durable, found, and reads back bit for bit."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions, Origin, Outcome, Stored, Verdict
from dicomwire.archive.catalogue import Catalogue, DatabaseError
from dicomwire.archive.checksum import crc32
from dicomwire.archive.maintenance import rebuild, verify
from dicomwire.archive.query import Level, Query
from dicomwire.archive.segments import Mapping
from dicomwire.archive.statement import plan
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.errors import ArchiveError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"
ORIGIN = Origin("dimse", "127.0.0.1:1", "SCU", "DICOMWIRE")


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) & 1)
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (pack("<HI", 0, len(value)) if vr == b"OW" else pack("<H", len(value))) + value


def data_set(uid: str = "1.2.3", *, patient: str = "P1", study: str = "1.2", pixels: int = 64) -> bytes:
    return (
        element(0x00080016, b"UI", CT.encode())
        + element(0x00080018, b"UI", uid.encode())
        + element(0x00080060, b"CS", b"CT")
        + element(0x00100020, b"LO", patient.encode())
        + (element(0x0020000D, b"UI", study.encode()) if study else b"")
        + element(0x0020000E, b"UI", b"1.2.1")
        + element(0x7FE00010, b"OW", bytes(range(256)) * (pixels // 256) + bytes(pixels % 256))
    )


@pytest.mark.parametrize("number", [b"0 ", b"-1", b"1 "])
async def test_an_instance_has_a_frame_whatever_number_of_them_it_tells(
    archive: Archive, number: bytes
) -> None:
    pixels = element(0x7FE00010, b"OW", bytes(64))
    data = data_set()[: -len(pixels)] + element(0x00280008, b"IS", number) + pixels
    assert (await offer(archive, data)).verdict is Verdict.STORED
    assert [stored.number_of_frames for stored in archive.plan()] == [1]


async def offer(
    archive: Archive,
    data: bytes,
    uid: str = "1.2.3",
    *,
    syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    sop_class: str = CT,
    study: str | None = None,
    head: bytes = b"",
) -> Outcome:
    reception = archive.receive(
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
        transfer_syntax_uid=syntax,
        origin=ORIGIN,
        study_instance_uid=study,
        head=head,
    )
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    for at in range(0, len(data), 65_536):
        reception.write(memoryview(data)[at : at + 65_536])
    reception.finish(done.set_result)
    return await done


def read(archive: Archive, uid: str) -> bytes:
    (stored,) = archive.plan(instance=uid)
    with archive.open_stored(stored) as opened:
        return b"".join(bytes(part) for part in opened.slices())[stored.data_set_offset :]


def opened(folder: Path, options: ArchiveOptions | None = None) -> Archive:
    archive = Archive.open(folder, options or ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    return archive


def lose_catalogue(folder: Path) -> None:
    for file in folder.glob("catalogue.sqlite*"):
        file.unlink()


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    archive = opened(tmp_path / "data")
    yield archive
    await archive.stop()


@pytest.mark.parametrize("pixels", [64, 900_000, 3_000_001 & ~1, 9 << 20])
async def test_what_is_stored_reads_back_bit_for_bit(archive: Archive, pixels: int) -> None:
    data = data_set(pixels=pixels)
    assert (await offer(archive, data)).verdict is Verdict.STORED
    assert read(archive, "1.2.3") == data
    assert archive.stats().instances == 1


async def test_the_same_instance_again_is_already_stored(archive: Archive) -> None:
    await offer(archive, data_set())
    assert (await offer(archive, data_set())).verdict is Verdict.ALREADY_STORED
    implicit = b"".join(
        bytes(part)
        for part in to_transfer_syntax(data_set(), EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
    )
    again = await offer(archive, implicit, syntax=IMPLICIT_VR_LITTLE_ENDIAN)
    assert again.verdict is Verdict.ALREADY_STORED
    assert archive.stats().conflicts == 0


async def test_comparing_a_large_instance_gives_back_the_pages_of_both(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_set(pixels=40 << 20)
    await offer(archive, data)
    read: dict[Mapping, int] = {}
    was_read = Mapping.was_read

    def count(mapping: Mapping, length: int) -> None:
        read[mapping] = read.get(mapping, 0) + length
        was_read(mapping, length)

    monkeypatch.setattr(Mapping, "was_read", count)
    assert (await offer(archive, data)).verdict is Verdict.ALREADY_STORED
    assert sum(length >= len(data) for length in read.values()) == 2


async def test_other_content_is_kept_as_a_conflict_version(archive: Archive) -> None:
    await offer(archive, data_set())
    assert (await offer(archive, data_set(patient="P2"))).verdict is Verdict.CONFLICT
    assert read(archive, "1.2.3") == data_set()
    assert (archive.stats().instances, archive.stats().conflicts) == (1, 1)


@pytest.mark.parametrize("pixels", [64, 2 << 20])
async def test_replace_takes_the_newer_and_survives_a_rebuild(tmp_path: Path, pixels: int) -> None:
    archive = opened(tmp_path, ArchiveOptions("replace", free_space=0))
    await offer(archive, data_set(pixels=pixels))
    outcome = await offer(archive, data_set(patient="P2", pixels=pixels))
    assert outcome.verdict is Verdict.REPLACED
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())
    archive = opened(tmp_path)
    assert read(archive, "1.2.3") == data_set(patient="P2", pixels=pixels)
    await archive.stop()


async def test_reject_keeps_the_first(tmp_path: Path) -> None:
    archive = opened(tmp_path, ArchiveOptions("reject", free_space=0))
    await offer(archive, data_set())
    assert (await offer(archive, data_set(patient="P2"))).verdict is Verdict.DUPLICATE_REJECTED
    assert (archive.stats().instances, archive.stats().conflicts) == (1, 0)
    await archive.stop()


REFUSED = {
    "another SOP class": (data_set(), "1.2.3", {"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, Verdict.MISMATCH),
    "another SOP instance": (data_set(), "1.2.4", {}, Verdict.MISMATCH),
    "another study": (data_set(), "1.2.3", {"study": "1.9"}, Verdict.MISMATCH),
    "no study": (data_set(study=""), "1.2.3", {}, Verdict.NOT_UNDERSTOOD),
    "a path": (data_set(study="../../etc"), "1.2.3", {}, Verdict.NOT_UNDERSTOOD),
    "cut": (data_set()[:-3], "1.2.3", {}, Verdict.NOT_UNDERSTOOD),
    "cut and large": (data_set(pixels=3 << 20)[:-3], "1.2.3", {}, Verdict.NOT_UNDERSTOOD),
    "empty": (b"", "1.2.3", {}, Verdict.NOT_UNDERSTOOD),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_leaves_nothing_behind(archive: Archive, name: str) -> None:
    data, uid, more, verdict = REFUSED[name]
    outcome = await offer(archive, data, uid, **more)  # type: ignore[arg-type]
    assert outcome.verdict is verdict
    assert outcome.comment
    assert archive.stats().instances == 0
    assert (await offer(archive, data_set("1.2.9"), "1.2.9")).verdict is Verdict.STORED


@pytest.mark.parametrize("size", [100, 3 << 20])
async def test_aborted_leaves_nothing_behind(archive: Archive, size: int) -> None:
    reception = archive.receive(
        sop_class_uid=CT,
        sop_instance_uid="1.2.3",
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        origin=ORIGIN,
    )
    reception.write(bytes(size))
    reception.abort()
    assert (await offer(archive, data_set())).verdict is Verdict.STORED
    assert read(archive, "1.2.3") == data_set()


STUDY_FIELDS = (
    "StudyInstanceUID",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)


async def listed(archive: Archive, level: Level) -> list[tuple[object, ...]]:
    """UID, modalities, number of series and of instances of each study that a query of a level finds."""
    pages = archive.searches.pages(plan(Query(level, (), tuple(TAGS[each] for each in STUDY_FIELDS))))
    found = []
    while not pages.finished:
        found += await pages.next()
    return [each.study for each in found]


@pytest.mark.parametrize("level", list(Level)[1:])
async def test_a_study_of_nothing_but_conflicts_is_not_listed_until_its_instance_is_current(
    tmp_path: Path, level: Level
) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set(study="1.2"))
    outcome = await offer(archive, data_set(study="1.9"))
    assert outcome.verdict is Verdict.CONFLICT
    assert await listed(archive, level) == [("1.2", "CT", 1, 1)]
    archive.remove(archive.plan(study="1.2"))
    assert await listed(archive, level) == [("1.9", "CT", 1, 1)]
    await archive.stop()
    rebuild(tmp_path)
    archive = opened(tmp_path)
    assert await listed(archive, level) == [("1.9", "CT", 1, 1)]
    await archive.stop()


async def test_a_series_counts_from_its_first_current_instance_on(archive: Archive) -> None:
    await offer(archive, data_set(study="1.2"))
    await offer(archive, data_set(study="1.9"))
    await offer(archive, data_set("1.2.4", study="1.9"), "1.2.4")
    assert await listed(archive, Level.SERIES) == [("1.2", "CT", 1, 1), ("1.9", "CT", 1, 1)]


async def test_a_batch_of_duplicates_is_stored_once(archive: Archive) -> None:
    outcomes = await asyncio.gather(*(offer(archive, data_set()) for _ in range(20)))
    verdicts = [outcome.verdict for outcome in outcomes]
    assert verdicts.count(Verdict.STORED) == 1
    assert verdicts.count(Verdict.ALREADY_STORED) == 19


async def test_no_room_is_out_of_resources_and_goes_on_when_there_is(tmp_path: Path) -> None:
    archive = opened(tmp_path, ArchiveOptions(free_space=1 << 60))
    assert (await offer(archive, data_set())).verdict is Verdict.OUT_OF_RESOURCES
    await archive.stop()
    archive = opened(tmp_path)
    assert (await offer(archive, data_set())).verdict is Verdict.STORED
    await archive.stop()


async def test_a_second_process_is_refused(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="in use"):
        Archive.open(archive.data)


async def test_removed_is_gone_also_after_a_rebuild(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())
    await offer(archive, data_set("1.2.4"), "1.2.4")
    archive.remove(archive.plan(instance="1.2.3"))
    assert archive.plan(instance="1.2.3") == []
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())


async def test_what_was_removed_is_told_from_what_never_was_as_long_as_anything_tells(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    for uid in ("1.2.3", "1.2.4"):
        await offer(archive, data_set(uid), uid)
    (stored,) = archive.plan(instance="1.2.3")
    path = (stored.study_instance_uid, stored.series_instance_uid, "1.2.3")
    assert not archive.was_removed(*path)
    archive.remove([stored])
    assert archive.was_removed(*path)
    assert not archive.was_removed(path[0], path[1], "1.2.4")
    assert not archive.was_removed(path[0], path[2], path[1])
    await archive.stop()
    lose_catalogue(tmp_path)
    archive = opened(tmp_path)
    assert archive.was_removed(*path), "the record and its tombstone tell"
    archive.compact(0)
    await archive.stop()
    archive = Archive.open(tmp_path, rebuild=True)
    assert archive.was_removed(*path), "the catalogue told it before"
    archive.close()
    archive = opened(tmp_path, ArchiveOptions(remembers_removed=False))
    (other,) = archive.plan(instance="1.2.4")
    archive.remove([other])
    assert not archive.was_removed(path[0], path[1], "1.2.4")
    await archive.stop()


async def test_compaction_keeps_what_lives_and_frees_the_rest(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    for number in range(10):
        await offer(archive, data_set(f"1.2.{number}", pixels=10_000), f"1.2.{number}")
    await archive.stop()
    archive = opened(tmp_path)
    for number in range(9):
        archive.remove(archive.plan(instance=f"1.2.{number}"))
    plan = archive.plan(instance="1.2.9")
    assert archive.compact() > 80_000
    assert read(archive, "1.2.9") == data_set("1.2.9", pixels=10_000)
    with archive.open_stored(plan[0]) as still:
        assert len(still.view) == plan[0].length
    await archive.stop()
    assert list(verify(tmp_path)) == []
    assert rebuild(tmp_path) == (1, ())


async def test_an_unfinished_batch_is_cut_and_a_lost_catalogue_made_again(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())
    await archive.stop()
    (segment,) = (tmp_path / "segments").glob("*.seg")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"DWR1" + bytes(1000))
    archive = opened(tmp_path)
    assert read(archive, "1.2.3") == data_set()
    await archive.stop()
    assert segment.read_bytes() == whole
    lose_catalogue(tmp_path)
    archive = opened(tmp_path)
    assert read(archive, "1.2.3") == data_set()
    await archive.stop()


async def test_verify_names_the_instance_that_rotted(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set(pixels=4096))
    await archive.stop()
    (segment,) = (tmp_path / "segments").glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[-1000] ^= 1
    segment.write_bytes(content)
    assert [damage.sop_instance_uid for damage in verify(tmp_path)][:1] == ["1.2.3"]


async def test_verify_reads_each_payload_once_and_leaves_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    for number in range(5):
        await offer(archive, data_set(f"1.2.{number}", pixels=10_000), f"1.2.{number}")
    checked = 0

    def counted(data: memoryview, start: int = 0) -> int:
        nonlocal checked
        checked += len(data)
        return crc32(data, start)

    for module in ("records", "segments"):
        monkeypatch.setattr(f"dicomwire.archive.{module}.crc32", counted)
    live = archive.stats().bytes_live
    connections = []
    connect = Catalogue._connect

    def connected(catalogue: Catalogue) -> object:
        connections.append(connect(catalogue))
        return connections[-1]

    monkeypatch.setattr(Catalogue, "_connect", connected)
    assert list(verify(tmp_path)) == []
    assert live <= checked < live * 1.2
    assert connections
    for connection in connections:
        with pytest.raises(DatabaseError, match="closed"):
            connection.execute("SELECT 1")
    await archive.stop()


async def test_verify_finds_what_compaction_moved_under_its_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    for number in range(3):
        await offer(archive, data_set(f"1.2.{number}", pixels=10_000), f"1.2.{number}")
    await archive.stop()
    archive = opened(tmp_path)
    archive.remove(archive.plan(instance="1.2.0"))
    page = Catalogue.page

    def compacted_after(catalogue: Catalogue, after: int, limit: int) -> list[Stored]:
        found = page(catalogue, after, limit)
        if found:
            assert archive.compact() > 0
        return found

    monkeypatch.setattr(Catalogue, "page", compacted_after)
    assert list(verify(tmp_path)) == []
    await archive.stop()


async def test_what_is_read_is_counted_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    await offer(archive, data_set(pixels=200_000))
    (stored,) = archive.plan()
    counted = 0

    def count(_: Mapping, length: int) -> None:
        nonlocal counted
        counted += length

    monkeypatch.setattr(Mapping, "was_read", count)
    with archive.open_stored(stored) as whole:
        assert bytes(whole.view)[-200_000:] == data_set(pixels=200_000)[-200_000:]
    assert counted == stored.length
    counted = 0
    with archive.open_stored(stored) as sliced:
        assert len(list(sliced.slices(size=stored.length))) == 1
    assert counted == stored.length


META = write_file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, source_ae_title="SCANNER")
TIFF = b"II*\0" + bytes(range(4, 128)) + META[128:]
"""What precedes the data set of a file that is a TIFF as well; its meta information is not ours."""

HEADS = {
    "a TIFF as well": (TIFF, True),
    "zeros": (META, False),
    "no prefix": (TIFF.replace(b"DICM", b"dicm"), False),
    "of another instance": (TIFF.replace(b"1.2.3\0", b"1.2.4\0"), False),
    "longer than it says": (TIFF + bytes(8), False),
    "none": (b"", False),
}


@pytest.mark.parametrize("pixels", [64, 2 << 20])
@pytest.mark.parametrize("name", HEADS)
async def test_keep_keeps_what_precedes_the_data_set_where_the_preamble_says_something(
    tmp_path: Path, name: str, pixels: int
) -> None:
    head, kept = HEADS[name]
    data = data_set(pixels=pixels)
    archive = opened(tmp_path, ArchiveOptions(free_space=0, preamble="keep"))
    assert (await offer(archive, data, head=head)).verdict is Verdict.STORED
    (stored,) = archive.plan()
    with archive.open_stored(stored) as whole:
        content = bytes(whole.view)
    own = write_file_meta(CT, "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN)
    assert content == (head if kept else own) + data
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())


async def test_zero_makes_the_preamble_zeros(archive: Archive) -> None:
    await offer(archive, data_set(), head=TIFF)
    (stored,) = archive.plan()
    with archive.open_stored(stored) as whole:
        assert not any(whole.view[:128])


async def test_a_selection_of_more_than_the_limit_is_refused(archive: Archive) -> None:
    for number in range(3):
        await offer(archive, data_set(f"1.2.{number}"), f"1.2.{number}")
    assert len(archive.select(patient_ids=["P1"], limit=3)) == 3
    assert [one.sop_instance_uid for one in archive.select(instances=["1.2.2", "1.2.0", "9"])] == [
        "1.2.0",
        "1.2.2",
    ]
    with pytest.raises(ArchiveError, match="more than 2 instances"):
        archive.select(studies=["1.2"], limit=2)


async def test_a_closed_archive_has_no_file_open(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set("1.2.3"), "1.2.3")
    assert read(archive, "1.2.3") == data_set("1.2.3")
    await asyncio.to_thread(archive.plan)
    await archive.stop()
    assert [path for path in files_open() if path.startswith(str(tmp_path))] == []


def files_open() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


async def test_what_was_handed_on_is_kept_by_nobody(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    receptions = []
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(20):
        reception = archive.receive(
            sop_class_uid=CT,
            sop_instance_uid=f"1.2.{number}",
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            origin=ORIGIN,
        )
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        reception.write(data_set(f"1.2.{number}", pixels=100_000))
        reception.finish(done.set_result)
        receptions.append((reception, await done))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1_000_000  # bytes, of more than two millions that went through
    assert {outcome.verdict for _, outcome in receptions} == {Verdict.STORED}
    await archive.stop()
