"""Instances made of stored ones on their way out: without bulk data, of some frames (PS3.4 Y.3.3, Z.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.transcoder import Transcoder
from dicomwire.dicom.convert import to_explicit_vr_little_endian
from dicomwire.dicom.ebb import ebbing
from dicomwire.dicom.frame_extraction import Extraction, FrameRange, extract
from dicomwire.dicom.without_bulk_data import transfer_syntax_without_bulk_data, without_bulk_data
from dicomwire.services.instances import DataSet, Instance
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from dicomwire.upper_layer.pdu import Buffer


def without_bulk(archive: Archive, stored: Stored) -> Instance:
    """A stored instance without its bulk data; its UID stays (PS3.4 Z.1.3)."""
    return Instance(
        name=stored.sop_instance_uid,
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_without_bulk_data(stored.transfer_syntax_uid),
        length=0,
        open=partial(_open_without_bulk_data, archive, stored),
        recoding=WithoutPixels(archive, stored),
    )


def of_frames(
    archive: Archive,
    stored: Stored,
    wanted: FrameRange,
    *,
    sop_instance_uid: str,
    now: str,
    transcoder: Transcoder | None = None,
) -> Instance:
    """A new instance of some frames of a stored one.

    Args:
        sop_instance_uid: of the new one.
        now: date and time, a DT.

    Raises: ExtractionError, when it cannot be made; ArchiveError, when the stored one was removed.
    """
    take = partial(_extract, wanted=wanted, sop_instance_uid=sop_instance_uid, now=now)
    with archive.open_stored(stored) as opened:
        extraction = take(opened.view[stored.data_set_offset :], stored.transfer_syntax_uid)
    return Instance(
        name=f"{len(extraction.frames)} frames of {stored.sop_instance_uid}",
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=extraction.transfer_syntax_uid,
        length=0,
        open=partial(_open_frames, archive, stored, take),
        recoding=OfFrames(transcoder, stored, take) if transcoder is not None else None,
    )


@dataclass(frozen=True, slots=True)
class Pieces:
    """A data set that is put together while it is read."""

    pieces: Callable[[], Iterator[Buffer]]

    def slices(self) -> Iterator[Buffer]:
        """Its bytes."""
        return self.pieces()


@dataclass(frozen=True, slots=True)
class WithoutPixels:
    """The recoding of a data set without pixels: any codec's transfer syntax will do, no codec is needed."""

    archive: Archive
    stored: Stored

    def target(self, accepted: Collection[str]) -> str | None:
        """The first accepted one; but for pixel data they are all Explicit VR Little Endian (PS3.5 A.4)."""
        known = (uid for uid in accepted if uid in TRANSFER_SYNTAXES and TRANSFER_SYNTAXES[uid].encapsulated)
        return next(known, None)

    @asynccontextmanager
    async def open(self, target: str) -> AsyncIterator[Pieces]:
        """The data set in that transfer syntax."""
        with _open_without_bulk_data(self.archive, self.stored) as data_set:
            source = transfer_syntax_without_bulk_data(self.stored.transfer_syntax_uid)
            if source == EXPLICIT_VR_LITTLE_ENDIAN:
                yield Pieces(data_set.pieces)
            else:
                yield Pieces(lambda: map(memoryview, to_explicit_vr_little_endian(data_set.view, source)))


@dataclass(frozen=True, slots=True)
class OfFrames:
    """The recoding of an instance of some frames: the source is transcoded, then they are taken from it."""

    transcoder: Transcoder
    stored: Stored
    take: Callable[[memoryview, str], Extraction]

    def target(self, accepted: Collection[str]) -> str | None:
        """What suits the source best."""
        return self.transcoder.target(self.stored, accepted)

    @asynccontextmanager
    async def open(self, target: str) -> AsyncIterator[Pieces]:
        """The data set in that transfer syntax. Raises: TranscodingError, ArchiveError, WorkersBusy."""
        async with self.transcoder.transcode(self.stored, target) as transcoded:
            mapped = transcoded.mapped()
        extraction = self.take(memoryview(mapped), target)
        yield Pieces(lambda: map(memoryview, ebbing(mapped, extraction.pieces)))


def _extract(
    data: memoryview, transfer_syntax_uid: str, *, wanted: FrameRange, sop_instance_uid: str, now: str
) -> Extraction:
    return extract(data, transfer_syntax_uid, wanted, sop_instance_uid=sop_instance_uid, now=now)


@contextmanager
def _open_without_bulk_data(archive: Archive, stored: Stored) -> Iterator[DataSet]:
    with archive.open_stored(stored) as opened:
        data = opened.view[stored.data_set_offset :]
        yield DataSet(None, lambda: map(memoryview, without_bulk_data(data, stored.transfer_syntax_uid)))


@contextmanager
def _open_frames(archive: Archive, stored: Stored, take: partial[Extraction]) -> Iterator[DataSet]:
    with archive.open_stored(stored) as opened:
        data = opened.view[stored.data_set_offset :]
        yield DataSet(None, lambda: map(memoryview, take(data, stored.transfer_syntax_uid).pieces))
