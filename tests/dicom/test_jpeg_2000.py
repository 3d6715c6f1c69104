"""Codestreams of tiles, read by decoders that know nothing of how they were made (ISO 15444-1)."""

from __future__ import annotations

from io import BytesIO
from struct import unpack_from

import imagecodecs
import numpy
import pytest
from PIL import Image

from dicomwire.dicom import jpeg_2000, openjpeg
from dicomwire.dicom.arrays import Array
from dicomwire.dicom.codestream import read_jpeg_2000
from dicomwire.errors import TranscodingError

SHAPES = [(100, 70), (512, 512), (513, 1030), (1100, 530, 3), (3, 1500), (1500, 1, 3), (1, 1), (1029, 5)]
DEPTHS = [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12)]


def values_of(shape: tuple[int, ...], kind: str, precision: int) -> Array:
    """A ramp with some noise, which fills the range."""
    low = -(1 << precision - 1) if kind[0] == "i" else 0
    ramp = numpy.add.outer(numpy.arange(shape[0]), numpy.arange(shape[1])).reshape(*shape[:2], 1)
    noise = numpy.random.default_rng(6).integers(0, 20, (*shape[:2], 3 if len(shape) == 3 else 1))
    return ((ramp + noise) % (1 << precision) + low).astype(kind).reshape(shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "precision"), DEPTHS)
def test_every_tile_comes_back(shape: tuple[int, ...], kind: str, precision: int) -> None:
    values = values_of(shape, kind, precision)
    codestream = jpeg_2000.encode(values, colour_transform=len(shape) == 3, precision=precision)
    header = read_jpeg_2000(codestream)
    assert (header.rows, header.columns, header.precision) == (*shape[:2], precision)
    decoded = imagecodecs.jpeg2k_decode(bytes(codestream), planar=False)
    assert numpy.array_equal(decoded.reshape(shape), values)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tlm", [False, True])
def test_every_tile_of_htj2k_comes_back_from_two_decoders(shape: tuple[int, ...], tlm: bool) -> None:
    values = values_of(shape, "u2", 16)
    codestream = bytes(jpeg_2000.encode_htj2k(values, colour_transform=len(shape) == 3, tlm=tlm))
    assert numpy.array_equal(imagecodecs.htj2k_decode(codestream, planar=False).reshape(shape), values)
    assert numpy.array_equal(imagecodecs.jpeg2k_decode(codestream, planar=False).reshape(shape), values)


def test_the_lengths_of_tile_parts_lead_from_one_to_the_next() -> None:
    codestream = bytes(
        jpeg_2000.encode_htj2k(values_of((1100, 1030), "u1", 8), colour_transform=False, tlm=True)
    )
    position = codestream.index(b"\xff\x90")
    start = codestream.index(b"\xff\x55")
    (length,) = unpack_from(">H", codestream, start + 2)
    assert start + 2 + length == position  # the last segment of the main header
    for number in range(9):
        assert unpack_from(">HI", codestream, start + 6 + 6 * number)[0] == number
        assert codestream[position : position + 2] == b"\xff\x90"
        position += unpack_from(">HI", codestream, start + 6 + 6 * number)[1]
    assert codestream[position:] == b"\xff\xd9"


@pytest.mark.parametrize("shape", [(700, 600), (530, 1100, 3)])
def test_jp2_files_are_read_by_pillow(shape: tuple[int, ...]) -> None:
    levels = values_of(shape, "u1", 8)
    file = bytes(jpeg_2000.encode_jp2(levels))
    with Image.open(BytesIO(file)) as picture:
        assert picture.format == "JPEG2000"
        assert picture.mode == ("RGB" if len(shape) == 3 else "L")
        assert numpy.array_equal(numpy.asarray(picture), levels)


def test_loss_is_smaller_where_less_noise_is_asked_for() -> None:
    levels = values_of((600, 700), "u1", 8)
    rough, fine = (jpeg_2000.encode(levels, colour_transform=False, noise=noise) for noise in (30, 50))
    assert len(rough) < len(fine)
    errors = [
        numpy.abs(imagecodecs.jpeg2k_decode(bytes(one)).astype(int) - levels).mean() for one in (rough, fine)
    ]
    assert errors[0] > errors[1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile_size": (256, 256)},
        {"tile_size": (640, 512)},
        {"tile_size": (64, 2048)},
        {"tile_size": (256, 256), "offset": (40, 70)},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(1100, 700), (900, 530, 3)])
def test_bands_are_the_same_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], options: dict[str, tuple[int, int]]
) -> None:
    file = BytesIO()
    values = values_of(shape, "u1", 8)
    Image.fromarray(values).save(file, "JPEG2000", no_jp2=True, **options)
    monkeypatch.setattr(openjpeg, "_BAND", 50_000)
    monkeypatch.setattr(openjpeg, "_WHOLE_TILES", 300_000)
    decoded = numpy.empty(shape, "u1")
    openjpeg.decode(file.getvalue(), decoded)
    assert numpy.array_equal(decoded, values)


@pytest.mark.parametrize("options", [{}, {"tile_size": (256, 256)}], ids=str)
@pytest.mark.parametrize("reduction", [1, 2])
@pytest.mark.parametrize("band", [openjpeg._BAND, 5_000])
def test_a_lower_resolution_is_the_one_that_pillow_finds(
    monkeypatch: pytest.MonkeyPatch, band: int, reduction: int, options: dict[str, tuple[int, int]]
) -> None:
    file = BytesIO()
    Image.fromarray(values_of((900, 530, 3), "u1", 8)).save(file, "JPEG2000", no_jp2=True, **options)
    with Image.open(BytesIO(file.getvalue())) as picture:
        picture.reduce = reduction
        expected = numpy.asarray(picture)
    monkeypatch.setattr(openjpeg, "_BAND", band)
    monkeypatch.setattr(openjpeg, "_WHOLE_TILES", 3 * band)
    decoded = numpy.empty(expected.shape, "u1")
    openjpeg.decode(file.getvalue(), decoded, reduction=reduction)
    assert numpy.array_equal(decoded, expected)


def test_a_lower_resolution_lies_on_the_reference_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    file = BytesIO()
    Image.fromarray(values_of((900, 530, 3), "u1", 8)).save(
        file, "JPEG2000", no_jp2=True, tile_size=(256, 256), offset=(41, 70)
    )
    rows, columns = (-(-end // 8) - -(-start // 8) for start, end in ((70, 970), (41, 571)))
    whole, banded = (numpy.empty((rows, columns, 3), "u1") for _ in range(2))
    openjpeg.decode(file.getvalue(), whole, reduction=3)
    monkeypatch.setattr(openjpeg, "_BAND", 5_000)
    monkeypatch.setattr(openjpeg, "_WHOLE_TILES", 15_000)
    openjpeg.decode(file.getvalue(), banded, reduction=3)
    assert numpy.array_equal(whole, banded)


@pytest.mark.parametrize("end", [3, 60, 120, 5_000])
def test_cut_codestreams_are_not_decoded(end: int) -> None:
    codestream = jpeg_2000.encode(values_of((600, 300), "u1", 8), colour_transform=False)
    with pytest.raises(TranscodingError, match="JPEG 2000"):
        openjpeg.decode(codestream[:end], numpy.empty((600, 300), "u1"))


def test_another_size_than_the_array_is_refused() -> None:
    codestream = jpeg_2000.encode(values_of((60, 30), "u1", 8), colour_transform=False)
    with pytest.raises(TranscodingError, match="wanted"):
        openjpeg.decode(codestream, numpy.empty((60, 31), "u1"))
