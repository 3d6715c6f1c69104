"""Where frames lie (PS3.5 8, A.4)."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.dicom.frames import FrameError, frame_spans, image_of, read_frame
from dicomwire.dicom.scan import scan
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.data_sets import Element, element, write

JPEG = "1.2.840.10008.1.2.4.50"


def native(
    rows: int,
    columns: int,
    bits: int,
    frames: int,
    pixels: bytes,
    *,
    samples: int = 1,
    photometric: str = "MONOCHROME2",
) -> list[Element]:
    return [
        element("SamplesPerPixel", "US", pack("<H", samples)),
        element("PhotometricInterpretation", "CS", photometric),
        element("NumberOfFrames", "IS", str(frames)),
        element("Rows", "US", pack("<H", rows)),
        element("Columns", "US", pack("<H", columns)),
        element("BitsAllocated", "US", pack("<H", bits)),
        Element(0x7FE00010, "OW", pixels + b"\0" * (len(pixels) % 2)),
    ]


def frames_of(data: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> list[bytes]:
    return [bytes(read_frame(data, span)) for span in frame_spans(data, syntax, scan(data, syntax))]


def test_whole_bytes_are_slices() -> None:
    data = write(native(1, 3, 8, 3, b"abcdefghi"))
    assert frames_of(data) == [b"abc", b"def", b"ghi"]
    span = frame_spans(data, EXPLICIT_VR_LITTLE_ENDIAN, scan(data, EXPLICIT_VR_LITTLE_ENDIAN))[1]
    assert span.plain
    assert span.length == 3


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.randoms(use_true_random=False))
def test_single_bit_frames_start_within_bytes(rows: int, columns: int, frames: int, random: object) -> None:
    import random as standard

    assert isinstance(random, standard.Random)
    bits = [[random.randrange(2) for _ in range(rows * columns)] for _ in range(frames)]
    for syntax in (EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN):
        data = write(
            native(rows, columns, 1, frames, packed([bit for frame in bits for bit in frame])), syntax
        )
        assert frames_of(data, syntax) == [packed(frame) for frame in bits]


def packed(bits: list[int]) -> bytes:
    """First pixel in the lowest bit (PS3.5 8.1.1)."""
    number = sum(bit << index for index, bit in enumerate(bits))
    return number.to_bytes((len(bits) + 7) // 8, "little")


@settings(max_examples=40)
@given(st.sampled_from([8, 16]), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.data())
def test_big_endian_frames_come_out_little_endian(
    bits: int, rows: int, columns: int, frames: int, draw: st.DataObject
) -> None:
    size = rows * columns * bits // 8
    pixels = draw.draw(st.binary(min_size=size * frames, max_size=size * frames))
    data = write(native(rows, columns, bits, frames, pixels), EXPLICIT_VR_BIG_ENDIAN)
    expected = [pixels[start : start + size] for start in range(0, size * frames, size)]
    assert frames_of(data, EXPLICIT_VR_BIG_ENDIAN) == expected


def test_subsampled_colour_has_two_samples_a_pixel() -> None:
    data = write(native(1, 4, 8, 2, bytes(range(16)), samples=3, photometric="YBR_FULL_422"))
    assert frames_of(data) == [bytes(range(8)), bytes(range(8, 16))]


def test_pixel_data_that_is_too_short_is_told() -> None:
    data = write(native(2, 2, 16, 2, bytes(12)))
    with pytest.raises(FrameError, match="12 bytes, frame 2 ends at byte 16"):
        frames_of(data)


def test_missing_attributes_and_pixel_data_are_told() -> None:
    data = write(native(2, 2, 16, 1, bytes(8))[:-1])
    with pytest.raises(FrameError, match="no pixel data"):
        frames_of(data)
    data = write([Element(0x7FE00010, "OW", b"\0\0")])
    with pytest.raises(FrameError, match="missing"):
        image_of(scan(data, EXPLICIT_VR_LITTLE_ENDIAN))


def encapsulated(
    frames: int,
    parts: list[bytes],
    *,
    offsets: list[int] | None = None,
    extended: list[tuple[int, int]] | None = None,
) -> bytes:
    elements = [element("NumberOfFrames", "IS", str(frames))]
    if extended is not None:
        elements.append(Element(0x7FE00001, "OV", b"".join(pack("<Q", start) for start, _ in extended)))
        elements.append(Element(0x7FE00002, "OV", b"".join(pack("<Q", length) for _, length in extended)))
    table = b"".join(pack("<I", offset) for offset in offsets or [])
    value = b"".join(pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in [table, *parts])
    header = pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return write(elements) + header + value + pack("<HHI", 0xFFFE, 0xE0DD, 0)


A, B, C = b"\xff\xd8\xff\xe0aa", b"bbbb", b"\xff\xd8\xff\xdbcc"


def test_the_extended_offset_table_gives_lengths() -> None:
    data = encapsulated(2, [A, C], extended=[(0, 6), (14, 5)])
    assert frames_of(data, JPEG) == [A, C[:5]]


def test_the_basic_offset_table_joins_fragments() -> None:
    assert frames_of(encapsulated(2, [A, B, C], offsets=[0, 26]), JPEG) == [A + B, C]
    assert frames_of(encapsulated(2, [B, A, B], offsets=[0, 12]), JPEG) == [B, A + B]


def test_more_fragments_than_can_be_remembered_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomwire.dicom.frames.FRAGMENT_LIMIT", 4)
    assert frames_of(encapsulated(2, [A, B]), JPEG) == [A, B]
    with pytest.raises(FrameError, match="more than 4 fragments"):
        frames_of(encapsulated(3, [A, B, C]), JPEG)


def test_without_a_table_there_is_one_fragment_a_frame_or_one_frame() -> None:
    assert frames_of(encapsulated(3, [A, B, C]), JPEG) == [A, B, C]
    assert frames_of(encapsulated(1, [A, B, B]), JPEG) == [A + B + B]


def test_without_a_table_codestreams_begin_frames() -> None:
    assert frames_of(encapsulated(2, [A, B, C, B, B]), JPEG) == [A + B, C + B + B]
    codestream = bytes.fromhex("ff4fff51")
    assert frames_of(encapsulated(2, [codestream, B, codestream]), JPEG) == [codestream + B, codestream]


def test_a_table_that_does_not_fit_is_not_believed() -> None:
    assert frames_of(encapsulated(2, [A, C], offsets=[0, 999]), JPEG) == [A, C]
    assert frames_of(encapsulated(2, [A, C], offsets=[0]), JPEG) == [A, C]
    assert frames_of(encapsulated(2, [A, C], offsets=[14, 0]), JPEG) == [A, C]
    assert frames_of(encapsulated(2, [A, C], extended=[(0, 6), (14, 9999)]), JPEG) == [A, C]


def test_frames_that_cannot_be_told_apart_are_an_error() -> None:
    with pytest.raises(FrameError, match="3 fragments for 2 frames, 0 of them begin"):
        frames_of(encapsulated(2, [B, B, B]), JPEG)
    with pytest.raises(FrameError, match="without a fragment"):
        frames_of(encapsulated(1, []), JPEG)
