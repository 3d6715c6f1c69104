"""Whole data sets in other transfer syntaxes; pydicom and its bundled files are the oracle."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from struct import pack

import numpy
import pydicom
import pytest
from pydicom.data import get_testdata_file

from dicomwire.dicom import codecs
from dicomwire.dicom.codecs import lossless_targets
from dicomwire.dicom.part10 import read_file_meta, write_file_meta
from dicomwire.dicom.scan import scan
from dicomwire.dicom.transcode import MOST_FRAMES, transcode
from dicomwire.errors import DataSetError, TranscodingError
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom.data_sets import Element, element, sequence, write

# What pydicom decodes with numpy and Pillow alone, of every transfer syntax it bundles
FILES = [
    *("693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"),
    *("MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm", "rtdose_rle.dcm"),
    *("SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n2.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"),
    *("SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_gdcm_KY.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_rle.dcm"),
    *("SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm", "SC_rgb_rle_16bit_2frame.dcm"),
    *("SC_rgb_rle_32bit_2frame.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_small_odd_jpeg.dcm", "rtdose.dcm"),
    *("SC_ybr_full_422_uncompressed.dcm", "examples_overlay.dcm", "examples_palette.dcm", "rtdose_expb.dcm"),
    *("image_dfl.dcm", "liver_1frame.dcm", "liver_expb_1frame.dcm", "ExplVR_BigEnd.dcm"),
]


def bundled(name: str) -> tuple[bytes, str]:
    """The data set of a file of pydicom's, and its transfer syntax."""
    data = Path(str(get_testdata_file(name))).read_bytes()
    meta = read_file_meta(data, complete=True)
    assert meta is not None
    return data[meta.length :], meta.transfer_syntax_uid


def opened(data_set: bytes, syntax: str) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(write_file_meta("1.2.3", "1.2.3.4", syntax) + data_set))


def pixels(data_set: bytes, syntax: str) -> numpy.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of padding and of precision
        return opened(data_set, syntax).pixel_array


def recoded(data: bytes, source: str, target: str) -> bytes:
    return b"".join(transcode(data, source, target))


@pytest.mark.parametrize("name", FILES)
def test_bundled_files_decode_to_what_pydicom_finds(name: str) -> None:
    data, syntax = bundled(name)
    native = recoded(data, syntax, EXPLICIT_VR_LITTLE_ENDIAN)
    assert numpy.array_equal(pixels(native, EXPLICIT_VR_LITTLE_ENDIAN), pixels(data, syntax))


@pytest.mark.parametrize("name", FILES)
def test_bundled_files_survive_every_lossless_transfer_syntax(name: str) -> None:
    data, syntax = bundled(name)
    expected = pixels(data, syntax)
    bits = scan(data, syntax).integer(0x00280100)
    targets = lossless_targets(syntax, bits_allocated=bits)
    assert EXPLICIT_VR_LITTLE_ENDIAN in targets
    for target in targets:
        there = recoded(data, syntax, target)
        native = recoded(there, target, EXPLICIT_VR_LITTLE_ENDIAN)
        found = pixels(native, EXPLICIT_VR_LITTLE_ENDIAN)
        assert numpy.array_equal(found, expected), target


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # bundled files have such
@pytest.mark.parametrize("name", FILES)
def test_other_attributes_stay_as_they_are(name: str) -> None:
    data, syntax = bundled(name)
    before = opened(data, syntax)
    after = opened(recoded(data, syntax, codecs.ENCAPSULATED_UNCOMPRESSED), codecs.ENCAPSULATED_UNCOMPRESSED)
    touched = {
        *("PixelData", "PhotometricInterpretation", "PlanarConfiguration", "LossyImageCompression"),
        *("LossyImageCompressionRatio", "LossyImageCompressionMethod", "DataSetTrailingPadding"),
        *("IconImageSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    }
    for one in before:
        if one.keyword not in touched and one.tag.element != 0:
            assert after[one.tag].value == one.value or one.VR in ("UN", "OB", "OW"), one
    assert {one.tag for one in after} - {one.tag for one in before} <= {0x00282110, 0x00282112, 0x00282114}


@pytest.mark.parametrize(
    "target", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
)
@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "SC_rgb_rle_16bit_2frame.dcm", "rtdose_rle.dcm"])
def test_encapsulated_pixels_come_out_in_every_native_transfer_syntax(name: str, target: str) -> None:
    data, syntax = bundled(name)
    assert numpy.array_equal(pixels(recoded(data, syntax, target), target), pixels(data, syntax))


def test_what_was_lost_before_is_told_when_the_transfer_syntax_tells_no_more() -> None:
    data, syntax = bundled("SC_rgb_dcmtk_+eb+cy+np.dcm")
    stripped = opened(data, syntax)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in stripped:
            delattr(stripped, keyword)
    buffer = BytesIO()
    stripped.save_as(buffer)
    file = buffer.getvalue()
    meta = read_file_meta(file, complete=True)
    assert meta is not None
    after = opened(recoded(file[meta.length :], syntax, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    assert after.LossyImageCompression == "01"
    assert after.LossyImageCompressionMethod == "ISO_10918_1"
    assert after.LossyImageCompressionRatio > 1
    assert after.PhotometricInterpretation == "RGB"
    assert after.PlanarConfiguration == 0


def test_loss_that_is_asked_for_is_told() -> None:
    data, syntax = bundled("MR_small_RLE.dcm")
    out = b"".join(transcode(data, syntax, codecs.JPEG_2000, quality=40))
    after = opened(out, codecs.JPEG_2000)
    assert after.LossyImageCompression == "01"
    assert after.LossyImageCompressionMethod == "ISO_15444_1"
    assert after.ImageType[0] == "DERIVED"


def native(values: numpy.ndarray, *, stored: int, more: list[Element] | None = None) -> list[Element]:
    frames, rows, columns = values.shape
    body = values.tobytes()
    return [
        element("SOPInstanceUID", "UI", "1.2.3.4"),
        element("SamplesPerPixel", "US", pack("<H", 1)),
        element("PhotometricInterpretation", "CS", "MONOCHROME2"),
        element("NumberOfFrames", "IS", str(frames)),
        element("Rows", "US", pack("<H", rows)),
        element("Columns", "US", pack("<H", columns)),
        element("BitsAllocated", "US", pack("<H", values.dtype.itemsize * 8)),
        element("BitsStored", "US", pack("<H", stored)),
        element("HighBit", "US", pack("<H", stored - 1)),
        element("PixelRepresentation", "US", pack("<H", 0)),
        *(more or []),
        Element(0x7FE00010, "OW", body + b"\0" * (len(body) % 2)),
    ]


def test_overlays_in_unused_bits_and_in_their_own_element_are_kept() -> None:
    values = numpy.random.default_rng(1).integers(0, 1 << 16, (1, 9, 7)).astype("<u2")
    overlay = [Element(0x60000010, "US", pack("<H", 9)), Element(0x60003000, "OW", bytes(range(8)))]
    data = write(native(values, stored=12, more=overlay))
    for target in lossless_targets(EXPLICIT_VR_LITTLE_ENDIAN, bits_allocated=16):
        there = recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, target)
        assert recoded(there, target, EXPLICIT_VR_LITTLE_ENDIAN) == data


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_single_bit_frames_follow_each_other_within_bytes(frames: int) -> None:
    bits = numpy.random.default_rng(frames).integers(0, 2, frames * 35).astype("u1")
    body = numpy.packbits(bits, bitorder="little").tobytes()
    elements = native(numpy.zeros((frames, 5, 7), "u1"), stored=1)
    elements[6] = element("BitsAllocated", "US", pack("<H", 1))
    elements[-1] = Element(0x7FE00010, "OB", body + b"\0" * (len(body) % 2))
    data = write(elements)
    for target in (codecs.DEFLATED_IMAGE_FRAME, codecs.ENCAPSULATED_UNCOMPRESSED):
        there = recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, target)
        assert recoded(there, target, EXPLICIT_VR_LITTLE_ENDIAN) == data


def test_frames_that_the_data_set_does_not_count_are_not_left_behind() -> None:
    elements = native(numpy.zeros((3, 4, 4), "<u2"), stored=16)
    elements[3] = element("NumberOfFrames", "IS", "1")
    with pytest.raises(TranscodingError, match="would be lost"):
        recoded(write(elements), EXPLICIT_VR_LITTLE_ENDIAN, codecs.RLE_LOSSLESS)


def test_very_many_frames_are_refused_before_the_first_one() -> None:
    data = write(native(numpy.zeros((MOST_FRAMES + 1, 1, 1), "u1"), stored=8))
    with pytest.raises(TranscodingError, match=f"{MOST_FRAMES + 1} frames; {MOST_FRAMES} at most"):
        transcode(data, EXPLICIT_VR_LITTLE_ENDIAN, codecs.RLE_LOSSLESS)
    assert b"".join(transcode(data, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)), "needs no codec"


def test_frames_over_several_fragments_without_an_offset_table_are_found() -> None:
    values = numpy.random.default_rng(2).integers(0, 4096, (3, 16, 16)).astype("<u2")
    data = write(native(values, stored=12))
    there = recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, codecs.JPEG_2000_LOSSLESS)
    start = there.index(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff") + 12
    split, position = there[: start + 8], start + 8
    while there[position : position + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(there[position + 4 : position + 8], "little")
        body = there[position + 8 : position + 8 + length]
        for piece in (body[:100], body[100:]):
            split += pack("<HHI", 0xFFFE, 0xE000, len(piece)) + piece
        position += 8 + length
    split += there[position:]
    assert recoded(split, codecs.JPEG_2000_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN) == data


def test_a_transfer_syntax_that_only_widens_the_name_keeps_the_bytes() -> None:
    data = write(native(numpy.zeros((1, 4, 4), "<u2"), stored=16))
    there = recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, codecs.JPEG_LOSSLESS_SV1)
    assert recoded(there, codecs.JPEG_LOSSLESS_SV1, codecs.JPEG_LOSSLESS) == there


def test_a_jpeg_goes_through_jpeg_xl_and_comes_back_bit_for_bit() -> None:
    data, syntax = bundled("SC_rgb_dcmtk_+eb+cy+np.dcm")
    there = recoded(data, syntax, codecs.JPEG_XL_RECOMPRESSION)
    assert len(there) < len(data)
    back = opened(recoded(there, codecs.JPEG_XL_RECOMPRESSION, syntax), syntax)
    frame = next(pydicom.encaps.generate_frames(back.PixelData, number_of_frames=1))
    assert frame.rstrip(b"\0") in data


def test_an_encapsulated_icon_does_not_go_into_native_transfer_syntaxes() -> None:
    values = numpy.zeros((1, 4, 4), "<u2")
    icon = [
        element("Rows", "US", pack("<H", 1)),
        Element(0x7FE00010, "OB", b"\1\2"),
    ]
    data = write(native(values, stored=16, more=[sequence("IconImageSequence", icon)]))
    there = recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, codecs.RLE_LOSSLESS)
    assert "IconImageSequence" in opened(there, codecs.RLE_LOSSLESS)
    back = opened(recoded(there, codecs.RLE_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    assert "IconImageSequence" not in back


def test_data_sets_without_pixels_change_their_encoding_alone() -> None:
    data = write([element("SOPInstanceUID", "UI", "1.2.3.4"), element("PatientID", "LO", "P")])
    there = recoded(data, codecs.JPEG_BASELINE, IMPLICIT_VR_LITTLE_ENDIAN)
    assert there == write(
        [element("SOPInstanceUID", "UI", "1.2.3.4"), element("PatientID", "LO", "P")],
        IMPLICIT_VR_LITTLE_ENDIAN,
    )


def test_floating_point_pixels_stay_uncompressed() -> None:
    elements = native(numpy.zeros((1, 2, 2), "<u4"), stored=32)
    elements[-1] = Element(0x7FE00008, "OF", numpy.ones(4, "<f4").tobytes())
    data = write(elements)
    with pytest.raises(TranscodingError, match="floating point"):
        recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, codecs.RLE_LOSSLESS)
    there = recoded(data, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
    assert recoded(there, EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN) == data


def test_video_and_unknown_transfer_syntaxes_are_refused() -> None:
    data = write(native(numpy.zeros((1, 2, 2), "<u2"), stored=16))
    for source, target in (
        ("1.2.840.10008.1.2.4.102", EXPLICIT_VR_LITTLE_ENDIAN),
        (EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.102"),
        (EXPLICIT_VR_LITTLE_ENDIAN, "1.2.3"),
    ):
        with pytest.raises(TranscodingError):
            recoded(data, source, target)


def test_a_cut_data_set_is_an_error() -> None:
    data = write(native(numpy.zeros((1, 4, 4), "<u2"), stored=16))
    with pytest.raises(DataSetError):
        recoded(data[:-5], EXPLICIT_VR_LITTLE_ENDIAN, codecs.RLE_LOSSLESS)
