"""Instances made of stored ones on their way out: without bulk data, of some frames (PS3.4 Y.3.3, Z.1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.frame_extraction import Extraction, FrameRange, extract
from dicomwire.dicom.without_bulk_data import transfer_syntax_without_bulk_data, without_bulk_data
from dicomwire.services.instances import DataSet, Instance


def without_bulk(archive: Archive, stored: Stored) -> Instance:
    """A stored instance without its bulk data; its UID stays (PS3.4 Z.1.3)."""
    return Instance(
        name=stored.sop_instance_uid,
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_without_bulk_data(stored.transfer_syntax_uid),
        length=0,
        open=partial(_open_without_bulk_data, archive, stored),
    )


def of_frames(
    archive: Archive, stored: Stored, wanted: FrameRange, *, sop_instance_uid: str, now: str
) -> Instance:
    """A new instance of some frames of a stored one.

    Args:
        sop_instance_uid: of the new one.
        now: date and time, a DT.

    Raises: ExtractionError, when it cannot be made; ArchiveError, when the stored one was removed.
    """
    take = partial(_extract, wanted=wanted, sop_instance_uid=sop_instance_uid, now=now)
    with archive.open_stored(stored) as opened:
        extraction = take(opened.view[stored.data_set_offset :], stored)
    return Instance(
        name=f"{len(extraction.frames)} frames of {stored.sop_instance_uid}",
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=extraction.transfer_syntax_uid,
        length=0,
        open=partial(_open_frames, archive, stored, take),
    )


def _extract(
    data: memoryview, stored: Stored, *, wanted: FrameRange, sop_instance_uid: str, now: str
) -> Extraction:
    return extract(data, stored.transfer_syntax_uid, wanted, sop_instance_uid=sop_instance_uid, now=now)


@contextmanager
def _open_without_bulk_data(archive: Archive, stored: Stored) -> Iterator[DataSet]:
    with archive.open_stored(stored) as opened:
        data = opened.view[stored.data_set_offset :]
        yield DataSet(None, lambda: map(memoryview, without_bulk_data(data, stored.transfer_syntax_uid)))


@contextmanager
def _open_frames(archive: Archive, stored: Stored, take: partial[Extraction]) -> Iterator[DataSet]:
    with archive.open_stored(stored) as opened:
        data = opened.view[stored.data_set_offset :]
        yield DataSet(None, lambda: map(memoryview, take(data, stored).pieces))
