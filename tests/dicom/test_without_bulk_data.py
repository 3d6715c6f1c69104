"""Data sets without bulk data: what goes, what stays."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dicomwire.dicom.without_bulk_data import (
    BULK_DATA,
    transfer_syntax_without_bulk_data,
    without_bulk_data,
)
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)


def stripped(path: str) -> tuple[Dataset, Dataset]:
    """A file of pydicom's, whole and without bulk data."""
    source = pydicom.dcmread(path)
    with open(path, "rb") as file:
        data = file.read()[132:]
    syntax = source.file_meta.TransferSyntaxUID
    data = data[12 + source.file_meta.FileMetaInformationGroupLength :]
    target = transfer_syntax_without_bulk_data(syntax)
    left = b"".join(bytes(piece) for piece in without_bulk_data(data, syntax))
    found = pydicom.filereader.read_dataset(
        pydicom.filebase.DicomBytesIO(left),
        target == IMPLICIT_VR_LITTLE_ENDIAN,
        target != EXPLICIT_VR_BIG_ENDIAN,
    )
    return source, found


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "examples_overlay.dcm",
        "waveform_ecg.dcm",
    ],
)
def test_all_but_bulk_data_stays(name: str) -> None:
    source, found = stripped(str(get_testdata_file(name)))
    bulk = [element.tag for element in source if element.tag in BULK_DATA]
    for tag in bulk:
        del source[tag]
    for item in source.get("WaveformSequence", ()):
        bulk.append(item["WaveformData"].tag)
        del item.WaveformData
    assert bulk
    assert [element.tag for element in found] == [element.tag for element in source if element.tag.element]
    for item in found.get("WaveformSequence", ()):
        assert "WaveformData" not in item
        assert item.NumberOfWaveformChannels == 12


def test_icons_keep_their_pixels() -> None:
    icon, data_set = Dataset(), Dataset()
    icon.PixelData = b"icon"
    icon["PixelData"].VR = "OB"
    data_set.IconImageSequence = [icon]
    data_set.PixelData = b"pixels"
    data_set["PixelData"].VR = "OB"
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(buffer, data_set)
    left = b"".join(bytes(piece) for piece in without_bulk_data(buffer.getvalue(), EXPLICIT_VR_LITTLE_ENDIAN))
    assert b"icon" in left
    assert b"pixels" not in left


@pytest.mark.parametrize(
    ("stored", "left"),
    [
        ("1.2.840.10008.1.2.4.90", EXPLICIT_VR_LITTLE_ENDIAN),
        ("1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN),
        (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
        (IMPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN),
        (EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_BIG_ENDIAN),
    ],
)
def test_what_needs_no_codec_any_more_is_plain(stored: str, left: str) -> None:
    assert transfer_syntax_without_bulk_data(stored) == left
