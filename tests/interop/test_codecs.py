"""Decoding and encoding with DCMTK as the oracle, pixel for pixel.

DCMTK's tools decode what we encode, and encode what we decode: JPEG, JPEG-LS and RLE. JPEG 2000, HTJ2K and
JPEG XL, which they do not know, are held against pydicom's decoders and against second decoders elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from struct import pack

import numpy
import pydicom
import pytest

from dicomwire.dicom import codecs
from dicomwire.dicom.codecs import JPEG_BASELINE, JPEG_EXTENDED
from dicomwire.dicom.part10 import read_file_meta, write_file_meta
from dicomwire.dicom.transcode import transcode
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.data_sets import Element, element, write
from tests.interop.support import run

pytestmark = pytest.mark.usefixtures("dcmtk")

CLASS, UID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"


@dataclass(frozen=True)
class Kind:
    """A kind of image."""

    allocated: int = 16
    stored: int = 16
    signed: bool = False
    samples: int = 1
    frames: int = 1
    photometric: str = "MONOCHROME2"
    planar: int = 0

    @property
    def name(self) -> str:
        sign = "s" if self.signed else "u"
        return f"{self.photometric}-{sign}{self.stored}of{self.allocated}-{self.frames}-planar{self.planar}"


KINDS = [
    Kind(8, 8),
    Kind(8, 8, frames=3),
    Kind(16, 12),
    Kind(16, 12, signed=True),
    Kind(16, 16),
    Kind(16, 16, signed=True, frames=2),
    Kind(16, 10, photometric="MONOCHROME1"),
    Kind(8, 8, samples=3, photometric="RGB"),
    Kind(8, 8, samples=3, photometric="RGB", frames=2, planar=1),
    Kind(8, 8, samples=3, photometric="YBR_FULL"),
    Kind(8, 8, photometric="PALETTE COLOR"),
]
LOSSLESS = {
    codecs.JPEG_LOSSLESS_SV1: ("dcmdjpeg", "dcmcjpeg", ["+e1", "+cn"]),
    codecs.JPEG_LOSSLESS: ("dcmdjpeg", "dcmcjpeg", ["+el", "+sv", "6", "+cn"]),
    codecs.JPEG_LS_LOSSLESS: ("dcmdjpls", "dcmcjpls", ["+el"]),
    codecs.RLE_LOSSLESS: ("dcmdrle", "dcmcrle", []),
}


def image(kind: Kind) -> bytes:
    """A data set in Explicit VR Little Endian: a ramp with noise, odd sizes."""
    rows, columns = 37, 29
    random = numpy.random.default_rng(kind.stored)
    shape = (kind.frames, rows, columns, kind.samples)
    low = -(1 << kind.stored - 1) if kind.signed else 0
    ramp = numpy.arange(rows * columns).reshape(1, rows, columns, 1) * ((1 << kind.stored) - 1)
    values = low + ramp // (rows * columns) + random.integers(-9, 9, shape)
    values = numpy.clip(values, low, low + (1 << kind.stored) - 1)
    cells = values.astype(f"<{'i' if kind.signed else 'u'}{kind.allocated // 8}")
    if kind.planar:
        cells = numpy.ascontiguousarray(cells.transpose(0, 3, 1, 2))
    pixels = cells.tobytes()
    palette: list[Element] = []
    if kind.photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            palette.append(
                element(f"{colour}PaletteColorLookupTableDescriptor", "US", pack("<3H", 256, 0, 16))
            )
        for colour in ("Red", "Green", "Blue"):
            data = numpy.arange(0, 65536, 256).astype("<u2").tobytes()
            palette.append(element(f"{colour}PaletteColorLookupTableData", "OW", data))
    planar = [element("PlanarConfiguration", "US", pack("<H", kind.planar))] if kind.samples > 1 else []
    return write(
        [
            element("SOPClassUID", "UI", CLASS),
            element("SOPInstanceUID", "UI", UID),
            element("SamplesPerPixel", "US", pack("<H", kind.samples)),
            element("PhotometricInterpretation", "CS", kind.photometric),
            *planar,
            element("NumberOfFrames", "IS", str(kind.frames)),
            element("Rows", "US", pack("<H", rows)),
            element("Columns", "US", pack("<H", columns)),
            element("BitsAllocated", "US", pack("<H", kind.allocated)),
            element("BitsStored", "US", pack("<H", kind.stored)),
            element("HighBit", "US", pack("<H", kind.stored - 1)),
            element("PixelRepresentation", "US", pack("<H", int(kind.signed))),
            *palette,
            Element(0x7FE00010, "OW" if kind.allocated > 8 else "OB", pixels + b"\0" * (len(pixels) % 2)),
        ]
    )


def saved(path: Path, data_set: bytes, syntax: str) -> Path:
    path.write_bytes(write_file_meta(CLASS, UID, syntax) + data_set)
    return path


def values(path: Path) -> numpy.ndarray:
    """The samples of a native file, colour by pixel, without what lies above their bits."""
    found = pydicom.dcmread(path)
    pixels = numpy.frombuffer(found.PixelData, f"<u{found.BitsAllocated // 8}")
    frames, samples = int(found.get("NumberOfFrames", 1)), found.SamplesPerPixel
    count = frames * found.Rows * found.Columns * samples
    pixels = pixels[:count]
    if samples > 1 and found.PlanarConfiguration == 1:
        pixels = pixels.reshape(frames, samples, found.Rows, found.Columns).transpose(0, 2, 3, 1)
    shape = (frames, found.Rows, found.Columns, samples)
    return pixels.reshape(shape) & (1 << found.BitsStored) - 1


def decoded_by(tool: str, source: Path, *options: str) -> numpy.ndarray:
    target = source.with_suffix(".native")
    run(tool, *options, source, target)
    return values(target)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_dcmtk_decodes_what_we_encode(tmp_path: Path, kind: Kind, syntax: str) -> None:
    data_set = image(kind)
    original = saved(tmp_path / "native.dcm", data_set, EXPLICIT_VR_LITTLE_ENDIAN)
    encoded = b"".join(transcode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, syntax))
    tool = LOSSLESS[syntax][0]
    keep = ["+cn"] if tool == "dcmdjpeg" else []  # DCMTK makes RGB of YBR_FULL unless told not to
    found = decoded_by(tool, saved(tmp_path / "encoded.dcm", encoded, syntax), *keep)
    assert numpy.array_equal(found, values(original))


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_we_decode_what_dcmtk_encodes(tmp_path: Path, kind: Kind, syntax: str) -> None:
    original = saved(tmp_path / "native.dcm", image(kind), EXPLICIT_VR_LITTLE_ENDIAN)
    decoder, tool, options = LOSSLESS[syntax]
    theirs = tmp_path / "theirs.dcm"
    run(tool, *options, original, theirs)
    # dcmcjpeg mixes up colours by plane: what its own decoder makes of them counts, not the original
    expected = decoded_by(decoder, theirs, *(["+cn"] if decoder == "dcmdjpeg" else []))
    file = theirs.read_bytes()
    meta = read_file_meta(file, complete=True)
    assert meta is not None
    assert meta.transfer_syntax_uid == syntax
    for target in (EXPLICIT_VR_LITTLE_ENDIAN, codecs.HTJ2K_LOSSLESS, codecs.JPEG_XL_LOSSLESS):
        ours = b"".join(transcode(file[meta.length :], syntax, target))
        native = b"".join(transcode(ours, target, EXPLICIT_VR_LITTLE_ENDIAN))
        found = values(saved(tmp_path / "ours.dcm", native, EXPLICIT_VR_LITTLE_ENDIAN))
        assert numpy.array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "syntax", "options"),
    [
        (Kind(8, 8), JPEG_BASELINE, ["+eb"]),
        (Kind(16, 12), JPEG_EXTENDED, ["+ee"]),
        (Kind(8, 8, samples=3, photometric="RGB"), JPEG_BASELINE, ["+eb", "+cy", "+s2"]),
        (Kind(8, 8, samples=3, photometric="RGB"), JPEG_BASELINE, ["+eb", "+cr"]),
        (Kind(8, 8, samples=3, photometric="RGB", frames=2), JPEG_BASELINE, ["+eb", "+cy", "+s4"]),
    ],
)
def test_lossy_jpeg_is_decoded_as_dcmtk_does_but_for_rounding(
    tmp_path: Path, kind: Kind, syntax: str, options: list[str]
) -> None:
    original = saved(tmp_path / "native.dcm", image(kind), EXPLICIT_VR_LITTLE_ENDIAN)
    theirs = tmp_path / "theirs.dcm"
    run("dcmcjpeg", *options, original, theirs)
    file = theirs.read_bytes()
    meta = read_file_meta(file, complete=True)
    assert meta is not None
    assert meta.transfer_syntax_uid == syntax
    native = b"".join(transcode(file[meta.length :], syntax, EXPLICIT_VR_LITTLE_ENDIAN))
    ours = saved(tmp_path / "ours.dcm", native, EXPLICIT_VR_LITTLE_ENDIAN)
    difference = abs(values(ours).astype(int) - decoded_by("dcmdjpeg", theirs).astype(int))
    # Two decoders may differ by rounding; where chrominance was sampled, by how they fill in between
    assert difference.max() <= (2 if kind.samples == 1 or "+cr" in options else 24)
    assert difference.mean() < 1
    found = pydicom.dcmread(ours)
    assert found.LossyImageCompression == "01"
    assert found.PhotometricInterpretation == ("RGB" if kind.samples == 3 else "MONOCHROME2")


def test_near_lossless_jpeg_ls_is_decoded_as_dcmtk_does(tmp_path: Path) -> None:
    original = saved(tmp_path / "native.dcm", image(Kind(16, 12)), EXPLICIT_VR_LITTLE_ENDIAN)
    theirs = tmp_path / "theirs.dcm"
    run("dcmcjpls", "+en", "+md", "3", original, theirs)
    file = theirs.read_bytes()
    meta = read_file_meta(file, complete=True)
    assert meta is not None
    native = b"".join(transcode(file[meta.length :], meta.transfer_syntax_uid, EXPLICIT_VR_LITTLE_ENDIAN))
    ours = values(saved(tmp_path / "ours.dcm", native, EXPLICIT_VR_LITTLE_ENDIAN))
    assert numpy.array_equal(ours, decoded_by("dcmdjpls", theirs))
    assert abs(ours.astype(int) - values(original).astype(int)).max() <= 3
