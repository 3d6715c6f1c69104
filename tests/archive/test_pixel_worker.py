"""What a worker keeps when its job is done."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from dicomwire.archive import pixel_worker
from dicomwire.archive.jobs import RenderJob, Source
from dicomwire.dicom.rendering import Rendering
from tests.archive.test_transcoder import image

NATIVE = "1.2.840.10008.1.2.1"


class Channel:
    """Keeps what is answered."""

    def __init__(self) -> None:
        self.answers: list[int] = []

    def renew(self) -> None: ...

    def answer(self, kind: int, *_: object) -> None:
        self.answers.append(kind)


@pytest.mark.parametrize(("frame", "answer"), [(1, pixel_worker.OK), (2, pixel_worker.FAILED)])
def test_a_job_gives_back_the_pages_of_its_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: int, answer: int
) -> None:
    path = tmp_path / "segment"
    path.write_bytes(image())
    job = RenderJob(Source(str(path), 0, path.stat().st_size, NATIVE, 1), (frame,), Rendering())
    channel = Channel()
    answered: list[int] = []
    monkeypatch.setattr(pixel_worker, "_remembered", OrderedDict())
    monkeypatch.setattr(pixel_worker._ebb, "forget", lambda: answered.extend(channel.answers))
    pixel_worker._run(job, [], channel)  # type: ignore[arg-type]
    assert answered == [answer]
