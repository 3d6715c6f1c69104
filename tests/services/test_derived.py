"""Instances made of stored ones on their way out."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import numpy

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.archive.transcoder import Transcoder, WorkerOptions
from dicomwire.dicom.frame_extraction import FrameRange
from dicomwire.services.derived import of_frames
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.services.retrieving import SERIES, STUDY, compressed, keep

RLE = "1.2.840.10008.1.2.5"
SIDE, FRAMES = 512, 48  # pixels of two bytes: 24 MiB


async def test_frames_of_a_transcoded_instance_are_streamed(tmp_path: Path) -> None:
    pixels = numpy.zeros((FRAMES, SIDE, SIDE), "<u2")
    pixels[:, 0, 0] = range(FRAMES)
    source, data = compressed(1, RLE, side=SIDE, pixels=pixels.tobytes(), NumberOfFrames=FRAMES)
    archive = Archive.open(tmp_path, ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    transcoder = Transcoder(archive, WorkerOptions(processes=1))
    try:
        await keep(archive, source, RLE, data)
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
                if len(piece) == 2 * SIDE * SIDE:
                    frames.append(piece[0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert frames == [0, *range(2, FRAMES)]
        assert peak < 6 << 20, "bytes, of 24 MiB"
    finally:
        await transcoder.close()
        await archive.stop()
