"""What the committer answers when the disk, the catalogue or its own end come between."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions, Outcome, Reception, Verdict
from dicomwire.archive.catalogue import DatabaseError
from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.committer import Committer
from dicomwire.archive.disk import OUT_OF_SPACE
from dicomwire.archive.maintenance import rebuild
from dicomwire.archive.segments import SegmentWriter
from dicomwire.errors import ArchiveError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.archive.test_archive import CT, ORIGIN, data_set, offer, opened, read

LARGE = 2 << 20


def reception(archive: Archive, data: bytes, uid: str = "1.2.3") -> Reception:
    receiving = archive.receive(
        sop_class_uid=CT,
        sop_instance_uid=uid,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        origin=ORIGIN,
    )
    receiving.write(data)
    return receiving


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_what_waits_for_its_like_at_the_end_is_judged_one_by_one(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    outcomes: list[Outcome] = []
    for patient in ("P1", "P2", "P3"):
        reception(archive, data_set(patient=patient)).finish(outcomes.append)
    await archive.stop()
    await asyncio.sleep(0)
    assert sorted(each.verdict.name for each in outcomes) == ["CONFLICT", "CONFLICT", "STORED"]
    assert rebuild(tmp_path) == (3, ())


async def test_what_ends_after_the_archive_is_refused(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    late = reception(archive, data_set())
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    await archive.stop()
    late.finish(done.set_result)
    outcome = await done
    assert outcome.verdict is Verdict.OUT_OF_RESOURCES
    assert outcome.comment == "The archive is closed"


async def test_nothing_waits_for_a_closed_archive(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())
    plan = archive.plan()
    await archive.stop()
    with pytest.raises(ArchiveError, match="closed"):
        archive.remove(plan)


async def test_a_large_instance_whose_tombstone_finds_no_room_is_refused_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own segment is sealed by then: closed once, not twice, and unlinked."""
    archive = opened(tmp_path, ArchiveOptions("replace", free_space=0))
    await offer(archive, data_set())
    with monkeypatch.context() as patched:
        patched.setattr(Committer, "append", full)
        outcome = await offer(archive, data_set(patient="P2", pixels=LARGE))
    assert outcome.verdict is Verdict.OUT_OF_RESOURCES
    assert outcome.comment == OUT_OF_SPACE
    assert read(archive, "1.2.3") == data_set()
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())


async def test_no_room_for_the_first_bytes_of_a_large_instance_is_out_of_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("dicomwire.archive.spool.write_all", full)
        outcome = await offer(archive, data_set(pixels=LARGE))
    assert outcome.verdict is Verdict.OUT_OF_RESOURCES
    assert outcome.comment == OUT_OF_SPACE
    assert (await offer(archive, data_set(pixels=LARGE))).verdict is Verdict.STORED
    await archive.stop()


async def test_a_removal_needs_none_of_the_room_that_stores_leave_free(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())
    await archive.stop()
    archive = opened(tmp_path, ArchiveOptions(free_space=1 << 60))
    archive.remove(archive.plan())
    assert archive.plan() == []
    await archive.stop()


async def test_what_fits_is_written_where_a_whole_extent_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate = os.posix_fallocate

    def little(descriptor: int, offset: int, length: int) -> None:
        if length > 1 << 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", little)
    monkeypatch.setattr(SegmentWriter, "prepared", True)
    archive = opened(tmp_path)
    assert (await offer(archive, data_set())).verdict is Verdict.STORED
    await archive.stop()


async def test_what_the_catalogue_did_not_take_is_indexed_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    with monkeypatch.context() as patched:

        def failing(*_: object) -> None:
            raise DatabaseError("disk I/O error")

        patched.setattr(CatalogueWriter, "add", failing)
        outcome = await offer(archive, data_set())
        assert outcome.verdict is Verdict.OUT_OF_RESOURCES
        outcome = await offer(archive, data_set("1.2.4"), "1.2.4")
        assert "disk I/O error" in outcome.comment
    assert (await offer(archive, data_set())).verdict is Verdict.ALREADY_STORED
    assert (await offer(archive, data_set("1.2.4"), "1.2.4")).verdict is Verdict.STORED
    await archive.stop()


async def test_a_removal_that_the_catalogue_did_not_take_is_done_before_the_next_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())
    with monkeypatch.context() as patched:

        def failing(*_: object) -> None:
            raise DatabaseError("disk I/O error")

        patched.setattr(CatalogueWriter, "remove", failing)
        with pytest.raises(DatabaseError):
            archive.remove(archive.plan())
    await offer(archive, data_set("1.2.4"), "1.2.4")
    assert [each.sop_instance_uid for each in archive.plan()] == ["1.2.4"]
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())


async def test_an_instance_whose_segment_is_gone_is_stored_anew(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())
    await archive.stop()
    for segment in (tmp_path / "segments").iterdir():
        segment.unlink()
    archive = opened(tmp_path)
    assert [each.reason for each in archive.damage] == ["the segment is gone"]
    with pytest.raises(ArchiveError, match="No such file"):
        read(archive, "1.2.3")
    assert (await offer(archive, data_set())).verdict is Verdict.REPLACED
    assert read(archive, "1.2.3") == data_set()
    await archive.stop()


async def test_an_instance_that_rotted_gives_way_to_the_same_one_again(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set(pixels=4096))
    await archive.stop()
    (segment,) = (tmp_path / "segments").iterdir()
    content = bytearray(segment.read_bytes())
    content[-1000] ^= 1
    segment.write_bytes(content)
    archive = opened(tmp_path)
    assert (await offer(archive, data_set(pixels=4096))).verdict is Verdict.REPLACED
    assert read(archive, "1.2.3") == data_set(pixels=4096)
    await archive.stop()


async def test_a_full_segment_that_cannot_be_sealed_stops_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is durable; what is reserved behind that is cut at the next start."""
    archive = opened(tmp_path, ArchiveOptions(segment_size=64, free_space=0))
    outcomes = [await offer(archive, data_set(uid="1.2.3"), uid="1.2.3")]
    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", full)
        outcomes += [await offer(archive, data_set(uid=uid), uid=uid) for uid in ("1.2.4", "1.2.5")]
    await archive.stop()
    assert [each.verdict for each in outcomes] == [Verdict.STORED] * 3
    again = opened(tmp_path)
    assert all(read(again, uid) == data_set(uid=uid) for uid in ("1.2.3", "1.2.4", "1.2.5"))
    await again.stop()


async def test_too_many_open_files_are_no_reason_to_replace_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    await offer(archive, data_set())

    def too_many(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr("dicomwire.archive.segments.SegmentReader.open", too_many)
        outcome = await offer(archive, data_set(patient="P2"))
    assert outcome.verdict is Verdict.OUT_OF_RESOURCES
    assert read(archive, "1.2.3") == data_set()
    await archive.stop()


async def test_a_large_instance_is_found_and_read_as_soon_as_it_is_answered(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    data = data_set(pixels=LARGE)
    seen: list[bytes] = []
    done = asyncio.Event()

    def answered(_: Outcome) -> None:
        seen.append(read(archive, "1.2.3"))
        done.set()

    reception(archive, data).finish(answered)
    await done.wait()
    assert seen == [data]
    await archive.stop()


async def test_an_id_is_not_used_again_when_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tombstone that names it would bury the new instance with the next rebuild."""
    archive = opened(tmp_path)
    await offer(archive, data_set("1.2.1"), "1.2.1")
    await offer(archive, data_set("1.2.2"), "1.2.2")
    (removed,) = archive.plan(instance="1.2.2")
    archive.remove([removed])
    await archive.stop()
    monkeypatch.setattr("dicomwire.archive.committer.time.time_ns", lambda: 10**18)
    archive = opened(tmp_path)
    await offer(archive, data_set("1.2.3"), "1.2.3")
    (stored,) = archive.plan(instance="1.2.3")
    assert stored.record_id > removed.record_id
    await archive.stop()


@pytest.mark.parametrize("when", ["the log", "its own segment", "the zeros ahead"])
async def test_a_disk_that_fails_to_sync_is_trusted_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    archive = opened(tmp_path)
    assert (await offer(archive, data_set("1.2.1"), "1.2.1")).verdict is Verdict.STORED
    synced = SegmentWriter.sync
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def failing(writer: SegmentWriter) -> None:
        loop.call_soon_threadsafe(failed.set)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(SegmentWriter, "sync", failing)
    if when == "the zeros ahead":
        await asyncio.wait_for(failed.wait(), 10)
    else:
        data = data_set("1.2.2", pixels=LARGE if when == "its own segment" else 64)
        assert (await offer(archive, data, "1.2.2")).verdict is Verdict.OUT_OF_RESOURCES
    monkeypatch.setattr(SegmentWriter, "sync", synced)
    later = await offer(archive, data_set("1.2.3"), "1.2.3")
    assert later.verdict is Verdict.OUT_OF_RESOURCES
    assert "restart" in later.comment
    await archive.stop()
    again = opened(tmp_path)
    assert (await offer(again, data_set("1.2.3"), "1.2.3")).verdict is Verdict.STORED
    assert [stored.sop_instance_uid for stored in again.plan()] == ["1.2.1", "1.2.3"]
    await again.stop()


async def test_a_full_disk_that_says_so_at_the_sync_is_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "sync", full)
        assert (await offer(archive, data_set("1.2.1"), "1.2.1")).verdict is Verdict.OUT_OF_RESOURCES
    assert (await offer(archive, data_set("1.2.2"), "1.2.2")).verdict is Verdict.STORED
    await archive.stop()
