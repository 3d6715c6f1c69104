"""Compaction loses nothing: identity, origin, tombstones and the order of versions survive it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dicomwire.archive import compaction
from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.committer import Committer
from dicomwire.archive.maintenance import rebuild, verify
from dicomwire.archive.records import SEGMENT_HEADER, Kind, Unwritten, batches, identity_of
from dicomwire.archive.segments import SegmentWriter
from dicomwire.errors import ArchiveError
from tests.archive.test_archive import data_set, lose_catalogue, offer, opened, read

LARGE = 40_000  # bytes of pixels that outweigh all else in a segment
SMALL = 64


async def stored(folder: Path, *uids: str, patient: str = "P1", pixels: int = SMALL) -> Archive:
    """A new segment with these instances."""
    archive = opened(folder)
    for uid in uids:
        await offer(archive, data_set(uid, patient=patient, pixels=pixels), uid)
    return archive


def headers(folder: Path) -> dict[int, tuple[int, bytes]]:
    """Time of reception and origin by record id, of every instance in the segments."""
    found = {}
    for path in sorted((folder / "segments").glob("*.seg")):
        data = path.read_bytes()
        identity = identity_of(data)
        assert identity is not None
        for batch in batches(data, SEGMENT_HEADER.size, identity):
            for record in batch.records:
                if record.kind is Kind.INSTANCE:
                    origin = data[record.offset - record.origin_length : record.offset]
                    found[record.record_id] = (record.received, origin)
    return found


async def test_a_moved_record_keeps_its_id_its_origin_and_the_time_it_came(tmp_path: Path) -> None:
    archive = await stored(tmp_path, "1.2.8", pixels=LARGE)
    await offer(archive, data_set("1.2.9"), "1.2.9")
    (plan,) = archive.plan(instance="1.2.9")
    await archive.stop()
    before = headers(tmp_path)
    archive = opened(tmp_path)
    archive.remove(archive.plan(instance="1.2.8"))
    assert archive.compact() > 0
    (moved,) = archive.plan(instance="1.2.9")
    assert moved.segment != plan.segment
    assert moved.record_id == plan.record_id
    await archive.stop()
    assert headers(tmp_path) == {plan.record_id: before[plan.record_id]}
    assert b'"calling_ae_title":"SCU"' in before[plan.record_id][1]


async def test_many_records_are_moved_with_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = await stored(tmp_path, "1.2.999", pixels=900_000)
    for number in range(100):
        await offer(archive, data_set(f"1.2.{number}"), f"1.2.{number}")
    await archive.stop()
    archive = opened(tmp_path)
    archive.remove(archive.plan(instance="1.2.999"))
    syncs = 0
    sync = SegmentWriter.sync

    def counted(writer: SegmentWriter) -> None:
        nonlocal syncs
        syncs += 1
        sync(writer)

    monkeypatch.setattr(SegmentWriter, "prepared", True)
    monkeypatch.setattr(SegmentWriter, "sync", counted)
    assert archive.compact() > 0
    assert syncs == 1
    assert len(archive.plan()) == 100
    await archive.stop()


async def test_the_removed_stays_removed_when_the_segment_of_its_tombstone_goes(tmp_path: Path) -> None:
    await (await stored(tmp_path, "1.2.1", "1.2.2", pixels=LARGE)).stop()
    archive = await stored(tmp_path, "1.2.3", pixels=LARGE)
    archive.remove([*archive.plan(instance="1.2.1"), *archive.plan(instance="1.2.3")])
    await archive.stop()
    archive = opened(tmp_path)
    assert archive.compact(0.7) > 0  # half of the first segment lives
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())


async def test_the_oldest_version_stays_current_when_it_moves_behind_a_conflict(tmp_path: Path) -> None:
    archive = await stored(tmp_path, "1.2.1", pixels=LARGE)
    await offer(archive, data_set("1.2.2"), "1.2.2")
    await archive.stop()
    await (await stored(tmp_path, "1.2.2", patient="P2")).stop()
    archive = opened(tmp_path)
    archive.remove(archive.plan(instance="1.2.1"))
    assert archive.compact(0.9) > 0
    await archive.stop()
    assert rebuild(tmp_path) == (2, ())
    archive = opened(tmp_path)
    assert read(archive, "1.2.2") == data_set("1.2.2")
    stats = archive.stats()
    assert (stats.instances, stats.conflicts) == (1, 1)
    await archive.stop()


async def test_a_catalogue_from_before_the_compaction_finds_what_was_moved(tmp_path: Path) -> None:
    """As a power cut could leave it on a disk that lies about syncs."""
    archive = await stored(tmp_path / "data", "1.2.1", pixels=LARGE)
    await offer(archive, data_set("1.2.2"), "1.2.2")
    archive.remove(archive.plan(instance="1.2.1"))
    await archive.stop()
    shutil.copytree(tmp_path / "data", tmp_path / "older")
    archive = opened(tmp_path / "data")
    archive.compact()
    await archive.stop()
    lose_catalogue(tmp_path / "data")
    shutil.copy(tmp_path / "older" / "catalogue.sqlite", tmp_path / "data")
    archive = opened(tmp_path / "data")
    assert archive.damage == ()
    assert read(archive, "1.2.2") == data_set("1.2.2")
    await archive.stop()
    assert list(verify(tmp_path / "data")) == []


@pytest.mark.parametrize("step", ["unlink", "forget_segment"])
async def test_a_crash_around_the_unlinking_brings_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    archive = await stored(tmp_path / "data", "1.2.1", pixels=LARGE)
    await offer(archive, data_set("1.2.2"), "1.2.2")
    await archive.stop()
    archive = opened(tmp_path / "data")
    archive.remove(archive.plan(instance="1.2.1"))

    def crashed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path if step == "unlink" else CatalogueWriter, step, crashed)
        with pytest.raises(KeyboardInterrupt):
            archive.compact()
    shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    await archive.stop()
    archive = opened(tmp_path / "crashed")
    assert archive.damage == ()
    assert [each.sop_instance_uid for each in archive.plan()] == ["1.2.2"]
    assert read(archive, "1.2.2") == data_set("1.2.2")
    archive.compact()
    await archive.stop()
    assert rebuild(tmp_path / "crashed") == (1, ())


async def test_what_is_removed_while_it_waits_to_be_moved_is_not_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = await stored(tmp_path, "1.2.1", pixels=LARGE)
    for uid in ("1.2.2", "1.2.3"):
        await offer(archive, data_set(uid), uid)
    await archive.stop()
    archive = opened(tmp_path)
    archive.remove(archive.plan(instance="1.2.1"))
    (removed,) = archive.plan(instance="1.2.2")
    move = compaction._move

    def removed_before(committer: Committer, number: int, chunk: Sequence[Unwritten]) -> None:
        committer.remove([removed.record_id])
        move(committer, number, chunk)

    monkeypatch.setattr(compaction, "_move", removed_before)
    assert archive.compact() > 0
    assert [each.sop_instance_uid for each in archive.plan()] == ["1.2.3"]
    await archive.stop()
    assert rebuild(tmp_path) == (1, ())


async def test_a_plan_made_before_is_read_after(tmp_path: Path) -> None:
    archive = await stored(tmp_path, "1.2.1", pixels=LARGE)
    await offer(archive, data_set("1.2.2"), "1.2.2")
    await archive.stop()
    archive = opened(tmp_path)
    plan = archive.plan()
    archive.remove(archive.plan(instance="1.2.1"))
    assert archive.compact() > 0
    for each in plan:
        if each.sop_instance_uid == "1.2.2":
            with archive.open_stored(each) as still:
                assert bytes(still.view[each.data_set_offset :]) == data_set("1.2.2")
    await archive.stop()


async def test_compaction_without_room_says_so_and_changes_nothing(tmp_path: Path) -> None:
    archive = await stored(tmp_path, "1.2.1", pixels=LARGE)
    await offer(archive, data_set("1.2.2"), "1.2.2")
    archive.remove(archive.plan(instance="1.2.1"))
    await archive.stop()
    archive = opened(tmp_path, ArchiveOptions(free_space=1 << 60))
    with pytest.raises(ArchiveError, match="Out of disk space"):
        archive.compact()
    assert read(archive, "1.2.2") == data_set("1.2.2")
    await archive.stop()
