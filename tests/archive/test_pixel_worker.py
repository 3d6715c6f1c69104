"""What a worker keeps when its job is done."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")

from dicomwire.archive import pixel_worker
from dicomwire.archive.jobs import RenderJob, Source
from dicomwire.dicom.rendering import Rendering


class Image:
    pixels = attributes = None
    pages_held = True

    def forget(self) -> None:
        self.pages_held = False


class Channel:
    def renew(self) -> None: ...

    def answer(self, *_: object) -> None: ...


@pytest.mark.parametrize("fails", [False, True])
def test_a_picture_of_one_frame_gives_back_the_pages_of_its_instance(monkeypatch, fails: bool) -> None:
    image = Image()

    def render(_pixels, _attributes, numbers, _rendering, *, state) -> bytes:
        next(iter(numbers))
        image.pages_held = True
        if fails:
            raise OSError
        return b""

    monkeypatch.setattr(pixel_worker, "_opened", lambda source: image)
    monkeypatch.setattr(pixel_worker, "render", render)
    job = RenderJob(Source("", 0, 0, "1.2.840.10008.1.2.1", 1), (1,), Rendering())
    if fails:
        with pytest.raises(OSError):  # noqa: PT011 (the one raised above)
            pixel_worker._rendered(job, Channel())
    else:
        pixel_worker._rendered(job, Channel())
    assert not image.pages_held
