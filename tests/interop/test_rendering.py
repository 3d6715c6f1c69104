"""Rendered gray levels with DCMTK's dcm2pnm as the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from PIL import Image

from dicomwire.dicom.attributes import read_attributes
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.dicom.pixels import Pixels
from dicomwire.dicom.render import render_frame
from dicomwire.dicom.rendering import Rendering, Window
from tests.interop.support import bundled_files, run

pytestmark = pytest.mark.usefixtures("dcmtk")

# Uncompressed ones of each kind: signed, big endian, implicit, palette, colour by plane, 8 and 16 bits
FILES = [
    *("CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "image_dfl.dcm"),
    *("examples_overlay.dcm", "examples_palette.dcm", "examples_rgb_color.dcm", "ExplVR_BigEnd.dcm"),
]
WINDOWS = [
    (["+Ww", "300", "900"], Window(300, 900)),
    (["+Ww", "100.5", "33"], Window(100.5, 33)),
    (["+Ww", "300", "900", "+Wfs"], Window(300, 900, "sigmoid")),
]


def ours(path: Path, window: Window | None) -> numpy.ndarray:
    data = path.read_bytes()
    meta = read_file_meta(data, complete=True)
    assert meta is not None
    syntax, data_set = meta.transfer_syntax_uid, data[meta.length :]
    image = read_attributes(data_set, encoding_of(syntax))
    return render_frame(Pixels(data_set, syntax), image, 1, Rendering(window=window))


def theirs(path: Path, target: Path, *options: str) -> numpy.ndarray:
    # Without "-O" overlays are drawn, which a rendered image has only by a presentation state
    run("dcm2pnm", "-O", *options, path, target)
    return numpy.asarray(Image.open(target))


def bundled(name: str) -> Path:
    (path,) = {file.path for file in bundled_files() if file.path.name == name}
    return path


@pytest.mark.parametrize("name", [name for name in FILES if name != "image_dfl.dcm"])
def test_gray_levels_are_dcmtk_s(tmp_path: Path, name: str) -> None:
    path = bundled(name)
    colour = ours(path, None).ndim == 3
    options = [] if colour else ["+Wi", "1"] if _has_window(path) else ["+Wm"]
    difference = abs(ours(path, None).astype(int) - theirs(path, tmp_path / "theirs.pnm", *options))
    assert difference.max() <= 1


@pytest.mark.parametrize(("options", "window"), WINDOWS)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "examples_overlay.dcm"])
def test_windows_are_dcmtk_s(tmp_path: Path, name: str, options: list[str], window: Window) -> None:
    path = bundled(name)
    difference = abs(ours(path, window).astype(int) - theirs(path, tmp_path / "theirs.pgm", *options))
    assert difference.max() <= 1


def _has_window(path: Path) -> bool:
    data = path.read_bytes()
    meta = read_file_meta(data, complete=True)
    assert meta is not None
    return read_attributes(data[meta.length :], encoding_of(meta.transfer_syntax_uid)).has("WindowCenter")
