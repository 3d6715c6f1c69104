"""Instances made of stored ones on their way out."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import numpy
from pydicom.dataset import FileMetaDataset

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.archive.transcoder import Transcoder, WorkerOptions
from dicomwire.dicom.frame_extraction import FrameRange
from dicomwire.services.derived import of_frames
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.services.retrieving import SERIES, STUDY, encoded, image, keep

RLE = "1.2.840.10008.1.2.5"
SIDE, FRAMES = 1024, 24  # pixels of one byte: 24 MiB


async def test_frames_of_a_transcoded_instance_are_streamed(tmp_path: Path) -> None:
    pixels = numpy.zeros((FRAMES, SIDE, SIDE), numpy.uint8)
    pixels[:, 0, 0] = range(FRAMES)
    source = image(
        1,
        Rows=SIDE,
        Columns=SIDE,
        NumberOfFrames=FRAMES,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        PixelData=pixels.tobytes(),
    )
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
    source.compress(RLE, generate_instance_uid=False)
    archive = Archive.open(tmp_path, ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    transcoder = Transcoder(archive, WorkerOptions(processes=1))
    try:
        await keep(archive, source, RLE, encoded(source, implicit=False))
        (stored,) = archive.plan(study=STUDY, series=SERIES, instance=f"{SERIES}.1")
        wanted = FrameRange(simple=(1, *range(3, FRAMES + 1)))
        made = of_frames(
            archive, stored, wanted, sop_instance_uid="1.2.9", now="20260101", transcoder=transcoder
        )
        assert made.recoding is not None
        frames: list[int] = []
        tracemalloc.start()
        async with made.recoding.open(EXPLICIT_VR_LITTLE_ENDIAN) as transcoded:
            for piece in transcoded.slices():
                if len(piece) == SIDE * SIDE:
                    frames.append(piece[0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert frames == [0, *range(2, FRAMES)]
        assert peak < 4 * SIDE * SIDE, "bytes"
    finally:
        await transcoder.close()
        await archive.stop()
