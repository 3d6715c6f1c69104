"""Frames through every codec and back (PS3.5 8.2, A.4)."""

from __future__ import annotations

from dataclasses import replace

import imagecodecs
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.dicom import codecs
from dicomwire.dicom.arrays import Array, from_native, to_native
from dicomwire.dicom.codecs import CODECS, Codec
from dicomwire.dicom.codestream import read_jpeg, read_jpeg_2000, read_jpeg_xl
from dicomwire.dicom.decode import decode_frame
from dicomwire.dicom.ebb import Ebb
from dicomwire.dicom.encode import encode_lossless, encode_lossy
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.scratch import IN_MEMORY, Scratch
from dicomwire.errors import TranscodingError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

LOSSLESS = [
    *(codecs.ENCAPSULATED_UNCOMPRESSED, codecs.DEFLATED_IMAGE_FRAME, codecs.RLE_LOSSLESS),
    *(codecs.JPEG_LOSSLESS, codecs.JPEG_LOSSLESS_SV1, codecs.JPEG_LS_LOSSLESS, codecs.JPEG_LS_NEAR_LOSSLESS),
    *(codecs.JPEG_2000_LOSSLESS, codecs.JPEG_2000, codecs.HTJ2K_LOSSLESS, codecs.HTJ2K_LOSSLESS_RPCL),
    *(codecs.HTJ2K, codecs.JPEG_XL_LOSSLESS, codecs.JPEG_XL),
]

IN_FILES = Scratch(Ebb(), large=1)
everywhere = pytest.mark.parametrize("scratch", [IN_MEMORY, IN_FILES], ids=["in memory", "in files"])


def description(
    rows: int = 4,
    columns: int = 5,
    *,
    allocated: int = 16,
    stored: int | None = None,
    high_bit: int | None = None,
    signed: bool = False,
    samples: int = 1,
    photometric: str | None = None,
    planar: int = 0,
) -> PixelDescription:
    stored = stored or allocated
    return PixelDescription(
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        photometric_interpretation=photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar_configuration=planar,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        pixel_representation=int(signed),
    )


@st.composite
def images(draw: st.DrawFn) -> tuple[PixelDescription, Array]:
    """Cells of any kind that a codec may meet; some hold bits beside their sample."""
    allocated = draw(st.sampled_from((8, 16, 32)))
    stored = draw(st.integers(1 if allocated < 32 else 2, allocated))
    samples = draw(st.sampled_from((1, 3)))
    signed = draw(st.booleans()) and samples == 1
    one = description(
        draw(st.integers(1, 9)),
        draw(st.integers(1, 20)),
        allocated=allocated,
        stored=stored,
        high_bit=draw(st.integers(stored - 1, allocated - 1)),
        signed=signed,
        samples=samples,
        photometric=draw(st.sampled_from(("RGB", "YBR_FULL"))) if samples == 3 else None,
    )
    random = numpy.random.default_rng(draw(st.integers(0, 1 << 32)))
    bits = allocated if draw(st.booleans()) else stored
    low = -(1 << bits - 1) if signed else 0
    numbers = random.integers(low, (1 << bits) + low, (one.rows, one.columns, samples))
    return one, numbers.astype(f"<i{allocated // 8}" if signed else f"<u{allocated // 8}").view(
        f"<u{allocated // 8}"
    )


@everywhere
def test_jpeg_xl_gives_back_what_its_lowest_effort_confuses(scratch: Scratch) -> None:
    """libjxl 0.11.2 changes pixels of this noise at effort 1."""
    random = numpy.random.default_rng(1446)
    rows, columns = (int(each) for each in random.integers(4, 12, 2))
    cells = random.integers(0, 256, (rows, columns, 3)).astype("<u1")
    one = description(rows, columns, allocated=8, samples=3, photometric="RGB")
    encoded = encode_lossless(cells, "RGB", one, codecs.JPEG_XL_LOSSLESS, scratch=scratch)
    stored = replace(one, photometric_interpretation=encoded.photometric_interpretation)
    decoded, _ = decode_frame(encoded.data, codecs.JPEG_XL_LOSSLESS, stored, scratch=scratch)
    assert numpy.array_equal(decoded, cells)


@everywhere
@pytest.mark.parametrize("syntax", LOSSLESS)
@settings(max_examples=60, deadline=None)
@given(image=images())
def test_lossless_codecs_give_back_every_bit_of_the_cells(
    syntax: str, image: tuple[PixelDescription, Array], scratch: Scratch
) -> None:
    one, cells = image
    places = codecs.lossless_targets(EXPLICIT_VR_LITTLE_ENDIAN, bits_allocated=one.bits_allocated)
    if syntax not in places:
        with pytest.raises(TranscodingError):
            encode_lossless(cells, one.photometric_interpretation, one, syntax)
        return
    encoded = encode_lossless(cells, one.photometric_interpretation, one, syntax, scratch=scratch)
    stored = replace(one, photometric_interpretation=encoded.photometric_interpretation)
    decoded, photometric = decode_frame(encoded.data, syntax, stored, scratch=scratch)
    assert photometric == one.photometric_interpretation
    assert numpy.array_equal(decoded, cells)


@everywhere
@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(("allocated", "samples"), [(8, 1), (8, 3), (16, 1)])
def test_noise_that_grows_when_it_is_compressed_comes_back(
    syntax: str, allocated: int, samples: int, scratch: Scratch
) -> None:
    image = description(300, 200, allocated=allocated, samples=samples)
    kind = f"<u{allocated // 8}"
    cells = numpy.random.default_rng(7).integers(0, 1 << allocated, (300, 200, samples)).astype(kind)
    frame = encode_lossless(cells, image.photometric_interpretation, image, syntax, scratch=scratch)
    decoded, _ = decode_frame(
        frame.data,
        syntax,
        replace(image, photometric_interpretation=frame.photometric_interpretation),
        scratch=scratch,
    )
    assert numpy.array_equal(decoded, cells)


@everywhere
@pytest.mark.parametrize("stored", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "syntax", [codecs.JPEG_2000_LOSSLESS, codecs.HTJ2K_LOSSLESS, codecs.JPEG_LOSSLESS_SV1]
)
def test_codestreams_have_the_precision_of_bits_stored(
    syntax: str, signed: bool, stored: int, scratch: Scratch
) -> None:
    one = description(allocated=16, stored=stored, signed=signed)
    cells = numpy.zeros((4, 5, 1), "<u2")
    data = bytes(encode_lossless(cells, "MONOCHROME2", one, syntax, scratch=scratch).data)
    jpeg = CODECS[syntax] is Codec.JPEG_LOSSLESS
    header = read_jpeg(data) if jpeg else read_jpeg_2000(data)
    assert header.precision == stored
    assert header.signed == (signed and not jpeg)  # JPEG knows no sign


def test_htj2k_of_fewer_bits_is_read_by_another_decoder() -> None:
    one = description(30, 41, stored=12)
    cells = numpy.random.default_rng(3).integers(0, 4096, (30, 41, 1)).astype("<u2")
    data = encode_lossless(cells, "MONOCHROME2", one, codecs.HTJ2K_LOSSLESS).data
    assert numpy.array_equal(imagecodecs.jpeg2k_decode(bytes(data)), cells[..., 0])


def test_jpeg_ls_has_no_spiff_header() -> None:
    data = encode_lossless(
        numpy.zeros((4, 5, 1), "<u2"), "MONOCHROME2", description(), codecs.JPEG_LS_LOSSLESS
    )
    assert bytes(data.data).startswith(b"\xff\xd8\xff\xf7")


def test_rle_packs_each_row_by_itself() -> None:
    one = description(3, 4, allocated=8)
    data = bytes(
        encode_lossless(numpy.full((3, 4, 1), 7, "u1"), "MONOCHROME2", one, codecs.RLE_LOSSLESS).data
    )
    assert data[64:] == bytes((0xFD, 7)) * 3  # one replicate run a row (PS3.5 G.3.1)


def test_rgb_becomes_ybr_rct_in_jpeg_2000_and_rgb_again() -> None:
    one = description(allocated=8, samples=3)
    cells = numpy.random.default_rng(1).integers(0, 256, (4, 5, 3)).astype("u1")
    encoded = encode_lossless(cells, "RGB", one, codecs.JPEG_2000_LOSSLESS)
    assert encoded.photometric_interpretation == "YBR_RCT"
    _, photometric = decode_frame(
        encoded.data, codecs.JPEG_2000_LOSSLESS, replace(one, photometric_interpretation="YBR_RCT")
    )
    assert photometric == "RGB"


def test_sampled_chrominance_is_repeated() -> None:
    one = description(1, 4, allocated=8, samples=3, photometric="YBR_FULL_422")
    cells, photometric = from_native(bytes((1, 2, 9, 8, 3, 4, 7, 6)), one)
    assert photometric == "YBR_FULL"
    assert cells.tolist() == [[[1, 9, 8], [2, 9, 8], [3, 7, 6], [4, 7, 6]]]


def test_colour_by_plane_becomes_colour_by_pixel() -> None:
    one = description(1, 2, allocated=8, samples=3, planar=1)
    cells, _ = from_native(bytes((1, 2, 3, 4, 5, 6)), one)
    assert to_native(cells, 8) == bytes((1, 3, 5, 2, 4, 6))


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
def test_jpeg_xl_headers_tell_size_and_depth(bits: int) -> None:
    for rows, columns in ((1, 1), (8, 8), (13, 17), (512, 512), (300, 484), (900, 3)):
        values = numpy.zeros((rows, columns), "u1" if bits <= 8 else "u2")
        header = read_jpeg_xl(imagecodecs.jpegxl_encode(values, lossless=True, bitspersample=bits, effort=1))
        assert (header.rows, header.columns, header.precision) == (rows, columns, bits)


@everywhere
def test_jpeg_is_ycc_by_its_markers_before_the_data_set(scratch: Scratch) -> None:
    rgb = numpy.random.default_rng(2).integers(0, 256, (16, 16, 3)).astype("u1")
    plain = imagecodecs.jpeg_encode(rgb, 95, colorspace="RGB", outcolorspace="RGB")
    one = description(16, 16, allocated=8, samples=3, photometric="YBR_FULL_422")
    decoded, photometric = decode_frame(plain, codecs.JPEG_BASELINE, one, scratch=scratch)
    assert photometric == "RGB"
    assert abs(decoded.astype(int) - rgb).mean() < 3


@everywhere
@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        (codecs.JPEG_BASELINE, 8),
        (codecs.JPEG_EXTENDED, 12),
        (codecs.JPEG_LS_NEAR_LOSSLESS, 12),
        (codecs.JPEG_2000, 12),
        (codecs.JPEG_XL, 12),
    ],
)
def test_lossy_codecs_stay_near(syntax: str, bits: int, scratch: Scratch) -> None:
    one = description(64, 64, allocated=8 if bits == 8 else 16, stored=bits)
    ramp = numpy.add.outer(numpy.arange(64), numpy.arange(64)) * ((1 << bits) - 1) // 126
    cells = ramp.astype(f"<u{one.bits_allocated // 8}").reshape(64, 64, 1)
    encoded = encode_lossy(cells, "MONOCHROME2", one, syntax, 90, scratch=scratch)
    decoded, _ = decode_frame(encoded.data, syntax, one, scratch=scratch)
    difference = abs(decoded.astype(int) - cells.astype(int))
    assert difference.max() <= (1 << bits) // 16
    assert len(encoded.data) < one.frame_length


def test_lossy_compression_refuses_what_it_would_spoil() -> None:
    cells = numpy.full((4, 5, 1), 0xF001, "<u2")
    with pytest.raises(TranscodingError, match="overlay"):
        encode_lossy(cells, "MONOCHROME2", description(stored=12), codecs.JPEG_2000, 90)
    with pytest.raises(TranscodingError, match="signed"):
        encode_lossy(cells, "MONOCHROME2", description(signed=True), codecs.JPEG_EXTENDED, 90)
    with pytest.raises(TranscodingError, match="PALETTE"):
        encode_lossy(cells, "PALETTE COLOR", description(), codecs.JPEG_2000, 90)


FRAMES = {
    syntax: bytes(
        encode_lossless(
            numpy.random.default_rng(5).integers(0, 4096, (16, 16, 1)).astype("<u2"),
            "MONOCHROME2",
            description(16, 16, stored=12),
            syntax,
        ).data
    )
    for syntax in LOSSLESS
}


@everywhere
@pytest.mark.parametrize("syntax", [*LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN])
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=80))
def test_any_bytes_are_an_image_or_an_error(syntax: str, data: bytes, scratch: Scratch) -> None:
    try:
        cells, _ = decode_frame(data, syntax, description(stored=12), scratch=scratch)
    except TranscodingError:
        return
    assert cells.shape == (4, 5, 1)


@everywhere
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_codestreams_of_another_size_are_refused_before_they_are_decoded(
    syntax: str, scratch: Scratch
) -> None:
    one = description(60_000, 60_000, stored=12) if syntax not in (codecs.JPEG_LS_LOSSLESS,) else None
    with pytest.raises(TranscodingError):
        decode_frame(FRAMES[syntax], syntax, one or description(17, 16, stored=12), scratch=scratch)


@everywhere
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_cut_codestreams_are_errors_or_whole_frames(syntax: str, scratch: Scratch) -> None:
    for end in range(0, len(FRAMES[syntax]), max(1, len(FRAMES[syntax]) // 23)):
        try:
            cells, _ = decode_frame(
                FRAMES[syntax][:end], syntax, description(16, 16, stored=12), scratch=scratch
            )
        except TranscodingError:
            continue
        assert cells.shape == (16, 16, 1)  # JPEG decoders fill up what is missing


@pytest.mark.parametrize("syntax", [codecs.JPEG_2000_LOSSLESS, codecs.HTJ2K_LOSSLESS])
def test_codestreams_whose_header_cannot_be_are_refused(syntax: str) -> None:
    for place, value, words in ((35, 8, "beside its first tile"), (42, 0x7F, "128 bits")):
        frame = bytearray(FRAMES[syntax])
        frame[place] = value
        with pytest.raises(TranscodingError, match=words):
            decode_frame(bytes(frame), syntax, description(16, 16, stored=12))


@pytest.mark.parametrize("syntax", [codecs.JPEG_2000_LOSSLESS, codecs.HTJ2K_LOSSLESS])
@pytest.mark.parametrize(("tile", "words"), [(0, "without extent"), (1, "tiles")])
def test_tiles_that_cannot_be_are_refused_before_a_codec_divides_by_them(
    syntax: str, tile: int, words: str
) -> None:
    frame = bytearray(FRAMES[syntax])
    frame[8:16] = (1024).to_bytes(4, "big") * 2
    frame[24:32] = tile.to_bytes(4, "big") * 2
    with pytest.raises(TranscodingError, match=words):
        decode_frame(bytes(frame), syntax, description(1024, 1024, stored=12))
